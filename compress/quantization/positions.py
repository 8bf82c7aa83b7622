"""Fix points: value = integer x 2^-fix_point, eight bits; how a tensor is rounded and how its fix point is chosen.

The rules are those of pytorch_nndct 3.5.0 (Vitis AI, Apache-2.0) for the DPU, computed here anew: `half_up` for
activations, `half_away` for parameters, and a search that takes the fix point of the least squared error.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

INT8_MIN, INT8_MAX = -128, 127
MAX_FIX_POINT = 12  # nndct_max_fix_position for eight bits; there is no lower bound
FIX_POINT_OF_ZEROS = 18  # what the search gives before the cap when nothing but zeros is there
SCOPE_TENSOR, SCOPE_INPUT = 5, 1  # how many fix points are tried; the network's input takes the first
INT32_RANGE = 2.0**31
CHUNK = 1 << 15  # elements that stay in the cache, and that torch does not share among threads

Rounding = Callable[[Tensor], Tensor]


def half_up(x: Tensor) -> Tensor:
    """Round to the nearest integer, halves towards plus infinity (DPU_ROUND, method 2): all activations.

    Exact for every float, 0.5 - 2^-25 included, where floor(x + 0.5) in float32 is not.
    """
    low = torch.floor(x)
    return low.add_(torch.sub(x, low).ge_(0.5))


def half_away(x: Tensor) -> Tensor:
    """Round to the nearest integer, halves away from zero (std::round, method 3): weights and biases."""
    size = x.abs()
    low = torch.floor(size)
    return low.add_(size.sub_(low).ge_(0.5)).copysign_(x)


def to_integers(x: Tensor, fix_point: int, rounding: Rounding) -> Tensor:
    """The integers of `x` on the grid 2^-fix_point, saturated to [-128, 127], as a tensor of x's float type.

    A scaled value of 2^31 or more gives -128, also infinity and NaN: nndct casts to int32 before it saturates.
    """
    scaled = x * 2.0**fix_point
    integers = rounding(scaled).clamp_(INT8_MIN, INT8_MAX)
    low, high = torch.aminmax(x)
    if max(-low.item(), high.item()) * 2.0**fix_point < INT32_RANGE:  # not so for NaN
        return integers
    return torch.where(scaled.abs() < INT32_RANGE, integers, float(INT8_MIN))


def fake_quantize(x: Tensor, fix_point: int, rounding: Rounding) -> Tensor:
    """`x` moved onto the grid 2^-fix_point: what eight bits keep of it, in x's float type and shape."""
    return to_integers(x, fix_point, rounding).mul_(2.0**-fix_point)


def find_fix_point(x: Tensor, scope: int = SCOPE_TENSOR) -> int:
    """The fix point with the least squared error of `fake_quantize`, before the cap.

    How halves are rounded makes no difference to the error, so it is not asked for.

    Args:
        x: float32 tensor of any shape, at least one element.
        scope: how many fix points to try, from the finest that saturates nothing upwards; the smallest wins a tie.
    Returns:
        The fix point, without an upper or lower limit.
    Raises:
        ValueError: a value is infinite or NaN.
    """
    x = x.detach()
    low, high = torch.aminmax(x)
    if not math.isfinite(low.item() - high.item()):
        raise ValueError("infinity or NaN")
    step = torch.maximum(low / -128.5, high / 127.5)  # in float32 throughout, as nndct divides
    if step.item() <= torch.finfo(torch.float32).tiny:
        first = FIX_POINT_OF_ZEROS
    else:
        first = math.floor(np.float32(math.log2((1 / step).item())))
    chunks = torch.split(x.reshape(-1), CHUNK)
    best, least = first, math.inf
    for fix_point in range(first, first + scope if scope > 1 else first):
        error = _squared_error(chunks, fix_point, least)
        if error < least:
            best, least = fix_point, error
    return best


def _squared_error(chunks: Sequence[Tensor], fix_point: int, limit: float) -> float:
    """The squared error at a fix point, or some number from `limit` on when it is not below that."""
    scale, total = 2.0**fix_point, 0.0
    for chunk in chunks:
        scaled = chunk * scale
        error = torch.round(scaled).clamp_(INT8_MIN, INT8_MAX).sub_(scaled)
        total += error.square_().sum(dtype=torch.float64).item() / scale**2
        if total >= limit:
            break
    return total


def capped(fix_point: int) -> int:
    """The fix point that is used: at most 12."""
    return min(fix_point, MAX_FIX_POINT)


def mode(history: Sequence[int]) -> int:
    """The most frequent fix point of the history, the smallest of equally frequent ones.

    Raises:
        ValueError: the history is empty.
    """
    counts = Counter(history)
    return min(counts, key=lambda fix_point: (-counts[fix_point], fix_point))
