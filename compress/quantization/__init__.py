"""Power-of-two int8: `quantize` a network, run it as `QuantizedNetwork`, export it with `to_xmodel`.

The names are imported when they are used, so that the command line can explain itself without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.quantization.graph_export import to_xmodel
    from compress.quantization.quantized_network import QuantizedNetwork
    from compress.quantization.quantizer import quantize

__all__ = ["QuantizedNetwork", "quantize", "to_xmodel"]

_MODULES = {"QuantizedNetwork": "quantized_network", "quantize": "quantizer", "to_xmodel": "graph_export"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
