"""When float32 gives an operator's integers exactly: proven from its weights, for every possible int8 input.

float32 holds whole multiples of a unit exactly up to 2^24 units, whatever the order of summation, as long as every
partial sum stays within. A partial sum is at most 128 * sum|w|, so the weights alone decide. The leaky slope
26/256 = 13/128 takes 7 more bits, but only for results that do not saturate anyway (see `plan`).

This relies on a convolution that only multiplies and adds; ONNX Runtime's CPU kernels do (no Winograd transform).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dpu.operators.convolution import Convolution

FLOAT32_EXACT = 2**24


@dataclass(frozen=True)
class Plan:
    """How to compute a convolution exactly.

    `float32`: everything in float32, from weights and bias scaled to the output's grid, with `half` added to the bias.
    Otherwise the accumulator is summed in float32 over each of `groups` apart, and added up in float64. Groups are
    ranges of input channels, or of a depthwise kernel's taps (row by row). `shift` is s - o, the bits to round away
    (0 or less: none).
    """

    float32: bool
    shift: int
    half: float
    groups: tuple[tuple[int, int], ...]


def fits_float32(largest: int, shift: int) -> bool:
    """Whether sums of at most `largest` units and half of 2^shift units, the half for rounding, are exact."""
    return largest + half_units(shift) <= FLOAT32_EXACT


def half_units(shift: int) -> int:
    """What is added before `shift` bits are cut off, in units; nothing where none are."""
    return 1 << (shift - 1) if shift > 0 else 0


def plan(step: Convolution) -> Plan:
    """The exact way for a convolution, the cheapest first.

    With s = max(w + i, b) the accumulator is a multiple of the unit 2^-s, and v = accumulator * 2^o must give
    clip(floor(activation(v) + 1/2)). All in float32 is exact when the largest accumulator, bias included, is at most
    2^24 units (then v is exact), and
    - without a leaky slope: the half, added to the bias, fits beside it;
    - with a leaky slope: s - o <= 10. Then 13/128 * v and the half are exact for |v| <= 128; beyond that the result
      saturates, and float32 rounding, being monotonous, cannot bring it back.
    """
    position = step.input.fix_point + step.weights_fix_point
    finer = max(position, step.bias_fix_point) if step.bias is not None else position
    reach = _reach(step)
    total = reach.sum(axis=1) << (finer - position)
    if step.bias is not None:
        total = total + (np.abs(step.bias.astype(np.int64)) << (finer - step.bias_fix_point))
    largest = int(total.max())
    shift = finer - step.output.fix_point
    everything = ((0, reach.shape[1]),)
    if step.activation == "LEAKYRELU":
        if largest <= FLOAT32_EXACT and shift <= 10:
            return Plan(True, shift, 0.0, everything)
    elif fits_float32(largest, shift):
        return Plan(True, shift, 0.5 if shift > 0 else 0.0, everything)
    return Plan(False, shift, 0.0, _groups(reach))


def _reach(step: Convolution) -> np.ndarray:
    """(O, N): the most that each of N input channels (of N taps, if depthwise) can add to each output channel.

    Of a transposed convolution's taps only some meet in one output pixel; all are counted.
    """
    sizes = 128 * np.abs(step.weights.astype(np.int64))
    if step.depthwise:
        multiplier, height, width, channels = sizes.shape
        return sizes.reshape(multiplier, height * width, channels).transpose(2, 0, 1).reshape(-1, height * width)
    per_channel: np.ndarray = sizes.sum(axis=(1, 2))
    return per_channel


def _groups(reach: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Ranges whose sums stay within float32; one input channel always does (16 * 16 * 128 * 128 = 2^22)."""
    groups, start = [], 0
    running = np.zeros(reach.shape[0], np.int64)
    for index in range(reach.shape[1]):
        if int((running + reach[:, index]).max()) > FLOAT32_EXACT and index > start:
            groups.append((start, index))
            start, running = index, np.zeros_like(running)
        running = running + reach[:, index]
    return (*groups, (start, reach.shape[1]))
