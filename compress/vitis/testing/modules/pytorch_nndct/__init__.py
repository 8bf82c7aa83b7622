"""A stand-in for AMD's pytorch_nndct 3.5.0: the part of its API that a post-training quantisation uses."""

from __future__ import annotations

import sys
from typing import Dict

if "xir" not in sys.modules:
    print("[VAIQ_WARN][QUANTIZER_TORCH_NO_XIR]: Can't find xir package in your environment.")


def _options_of_command_line() -> Dict[str, str]:
    """The `--nndct_...` options, which are taken out of sys.argv as the real one does at its import."""
    options, kept = {}, sys.argv[:1]
    words = iter(sys.argv[1:])
    for word in words:
        if word.startswith("--nndct_"):
            options[word[2:]] = next(words)
        else:
            kept.append(word)
    sys.argv = kept
    return options


OPTIONS = _options_of_command_line()
