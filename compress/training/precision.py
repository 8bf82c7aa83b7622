"""In which numbers a network's products are computed; parameters, losses and statistics stay float32."""

from __future__ import annotations

import torch

from compress.config import Precision

_HALF: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def products_in(precision: Precision, device: torch.device) -> torch.autocast:
    """A context in which convolutions compute in this precision."""
    half = _HALF.get(precision)
    return torch.autocast(device.type, dtype=half, enabled=half is not None)
