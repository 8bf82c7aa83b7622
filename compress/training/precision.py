"""In which numbers a network's products are computed; parameters, losses and statistics stay float32."""

from __future__ import annotations

import logging

import torch

from board_app.core.errors import UsageError
from compress.config import Precision

log = logging.getLogger(__name__)
_BF16_CPU = ("avx512_bf16", "amx_bf16", "bf16")  # of torch.cpu.get_capabilities; the last is ARM64's


def products_in(precision: Precision, device: torch.device) -> torch.autocast:
    """A context in which convolutions compute in this precision."""
    if precision == "auto":
        precision = "bf16" if computes_bf16(device) else "float32"
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device.type, dtype=half, enabled=half is not None)


def computes_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for bf16; without them it is imitated, several times as slow as float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in _BF16_CPU)


def check_precision(precision: Precision, device: torch.device) -> None:
    """Tell what `auto` is on a device, and warn of a precision that is slow on it.

    Raises:
        UsageError: the device cannot compute in it.
    """
    if precision == "fp16" and device.type == "cpu":
        raise UsageError(
            "precision fp16: expected a GPU, found none that torch can use. Take auto (bf16 where the machine has "
            "instructions for it, else float32), bf16 or float32"
        )
    if precision == "auto":
        log.info("precision auto: %s", "bf16" if computes_bf16(device) else "float32, without instructions for bf16")
    if precision == "bf16" and not computes_bf16(device):
        log.warning(
            "precision bf16: found no instructions for it here, so training will be several times as slow as in "
            "float32. Take auto (bf16 where the machine has them, else float32) or float32"
        )
