"""Proof that a cut is right, and how much of its folding is only approximate."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from board_app.core.errors import InputError, RoadslimError
from compress.darknet.cfg import Cfg, layer_shapes
from compress.darknet.heads import heads_of
from compress.darknet.network import DarknetNetwork

MAX_DIFFERENCE = 1e-4
_LONGEST_SIDE = 192  # pixels of the check's images; convolutions do not mind, and 608 would take seconds


@dataclass(frozen=True)
class CompactCheck:
    """Largest absolute difference between the compact and the masked network, over all heads.

    Attributes:
        max_abs: decides; in float32, or in float64 where float32's own rounding is too coarse for the limit.
        precision: "float32" or "float64", what `max_abs` was computed in.
        max_abs_float32: always in float32.
    """

    max_abs: float
    precision: str
    max_abs_float32: float


@dataclass(frozen=True)
class FoldingError:
    """Mean absolute error of folding as a share of a head's standard deviation, the worst head's.

    Attributes:
        inside: in all cells but the outermost ring; None where no head has any.
        border: in the outermost ring.
    """

    inside: float | None
    border: float


def check_images(cfg: Cfg) -> Tensor:
    """Two images, float32 (2, C, H, W) from 0 to 1: noise, and smooth areas with a little noise, as roads have.

    They are of the network's size, or of a smaller one of the same form that its layers allow.
    """
    generator = torch.Generator().manual_seed(0)
    height, width = _check_hw(cfg)
    noise = torch.rand(1, cfg.input_channels, height, width, generator=generator)
    coarse = torch.rand(1, cfg.input_channels, 6, 8, generator=generator)
    smooth = interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return torch.cat([noise, (0.9 * smooth + 0.1 * noise).clamp(0, 1)])


@torch.no_grad()
def compare_compact(compact: DarknetNetwork, masked: DarknetNetwork, images: Tensor) -> CompactCheck:
    """Run both on the images.

    Raises:
        RoadslimError: they differ by more than 1e-4 in float64 too.
    """
    in_float32 = _largest(compact(images), masked(images))
    check = CompactCheck(in_float32, "float32", in_float32)
    if not in_float32 <= MAX_DIFFERENCE:
        wide = images.double()
        heads = [copy.deepcopy(network).double()(wide) for network in (compact, masked)]
        check = CompactCheck(_largest(*heads), "float64", in_float32)
    if not check.max_abs <= MAX_DIFFERENCE:
        raise RoadslimError(
            f"{masked.cfg.name}: expected the compact network to equal the masked one to {MAX_DIFFERENCE:g}, found a "
            f"difference of {check.max_abs:g} in float64. Nothing was written; this is a fault in the surgery: please "
            "report it with the cfg."
        )
    return check


@torch.no_grad()
def measure_folding(compact: DarknetNetwork, unfolded: DarknetNetwork, images: Tensor) -> FoldingError:
    """How far the compact network is from the full-size one whose removed channels still give their constants."""
    inside, border = [], []
    for small, full in zip(compact(images), unfolded(images), strict=True):
        error = (small - full).abs() / max(float(full.std()), 1e-6)
        ring = torch.ones(error.shape[2:], dtype=torch.bool)
        ring[1:-1, 1:-1] = False
        border.append(float(error[..., ring].mean()))
        if not ring.all():
            inside.append(float(error[..., ~ring].mean()))
    return FoldingError(max(inside) if inside else None, max(border))


def _largest(some: list[Tensor], others: list[Tensor]) -> float:
    """NaN anywhere gives NaN."""
    return max((float((a - b).abs().max()) for a, b in zip(some, others, strict=True)), key=lambda d: (d != d, d))


def _check_hw(cfg: Cfg) -> tuple[int, int]:
    height, width = cfg.input_hw
    step = max(head.stride for head in heads_of(cfg))
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    smaller = max(step, int(height * scale) // step * step), max(step, int(width * scale) // step * step)
    try:
        layer_shapes(cfg.with_input_hw(smaller))
    except InputError:
        return height, width
    return smaller
