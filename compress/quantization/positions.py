"""Fix points: value = integer x 2^-fix_point, eight bits; how a tensor is rounded and how its fix point is chosen.

The rules are those of pytorch_nndct 3.5.0 (Vitis AI, Apache-2.0) for the DPU, computed here anew: `half_up` for
activations, `half_away` for parameters, and a search that takes the fix point of the least squared error.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

INT8_MIN, INT8_MAX = -128, 127
MAX_FIX_POINT = 12  # nndct_max_fix_position for eight bits; there is no lower bound
FIX_POINT_OF_ZEROS = 18  # what the search gives before the cap when nothing but zeros is there
SCOPE_TENSOR, SCOPE_INPUT = 5, 1  # how many fix points are tried; the network's input takes the first
INT32_RANGE = 2.0**31
CHUNK = 1 << 16  # elements that stay in the cache while five fix points are tried on them

Rounding = Callable[[Tensor], Tensor]


def half_up(x: Tensor) -> Tensor:
    """Round to the nearest integer, halves towards plus infinity (DPU_ROUND, method 2): all activations.

    Exact for every float, 0.5 - 2^-25 included, where floor(x + 0.5) in float32 is not.
    """
    low = torch.floor(x)
    return low.add_((x - low) >= 0.5)


def half_away(x: Tensor) -> Tensor:
    """Round to the nearest integer, halves away from zero (std::round, method 3): weights and biases."""
    size = x.abs()
    low = torch.floor(size)
    return low.add_((size - low) >= 0.5).copysign_(x)


def to_integers(x: Tensor, fix_point: int, rounding: Rounding) -> Tensor:
    """The integers of `x` on the grid 2^-fix_point, saturated to [-128, 127], as a tensor of x's float type.

    A scaled value of 2^31 or more gives -128, also infinity and NaN: nndct casts to int32 before it saturates.
    """
    scaled = x * 2.0**fix_point
    fits = scaled.abs() < INT32_RANGE
    integers = rounding(scaled).clamp_(INT8_MIN, INT8_MAX)
    return integers if bool(fits.all()) else torch.where(fits, integers, float(INT8_MIN))


def fake_quantize(x: Tensor, fix_point: int, rounding: Rounding) -> Tensor:
    """`x` moved onto the grid 2^-fix_point: what eight bits keep of it, in x's float type and shape."""
    return to_integers(x, fix_point, rounding).mul_(2.0**-fix_point)


def find_fix_point(x: Tensor, rounding: Rounding, scope: int = SCOPE_TENSOR) -> int:
    """The fix point with the least squared error of `fake_quantize`, before the cap.

    Args:
        x: float32 tensor of any shape, finite, at least one element.
        rounding: `half_up` for activations, `half_away` for parameters.
        scope: how many fix points to try, from the finest that saturates nothing upwards; the smallest wins a tie.
    Returns:
        The fix point, without an upper or lower limit.
    """
    low, high = (bound.item() for bound in torch.aminmax(x.detach()))
    # float32 throughout, as nndct divides
    step = max(torch.tensor(low).div(-128.5), torch.tensor(high).div(127.5))
    if step.item() <= torch.finfo(torch.float32).tiny:
        first = FIX_POINT_OF_ZEROS
    else:
        first = math.floor(torch.log2(1 / step).item())
    if scope == 1:
        return first
    errors = [0.0] * scope
    for chunk in torch.split(x.detach().reshape(-1), CHUNK):
        for offset in range(scope):
            difference = fake_quantize(chunk, first + offset, rounding).sub_(chunk)
            errors[offset] += float(difference.double().square_().sum())
    return first + errors.index(min(errors))


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
