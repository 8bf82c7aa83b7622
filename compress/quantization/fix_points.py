"""The fix points of a whole network, and the limits that the DPU's shifters set them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from compress.quantization.plan import Node, Plan

log = logging.getLogger(__name__)

MAX_SHIFT = 16  # of the result and of the bias
ACCUMULATOR_BITS, INT8_BITS = 24, 8


@dataclass(frozen=True)
class FixPoints:
    """By index of the node: `outputs` where a node has a fix point of its own; `weights`, `biases` of convolutions."""

    outputs: dict[int, int]
    weights: dict[int, int]
    biases: dict[int, int]


def limit_shifts(plan: Plan, found: FixPoints) -> FixPoints:
    """The fix points after nndct's adjustments at export: what inference uses.

    A nearest upsample and a slice take their input's fix point. Then, convolution by convolution in running order,
    the shift of the result (weight + input - output) is brought to 0..16 and that of the bias into the
    accumulator's width.
    """
    fixed = replace(found, outputs=dict(found.outputs), weights=dict(found.weights), biases=dict(found.biases))
    for node in plan.nodes:
        if node.copies and plan.has_fix_point(node):
            fixed.outputs[node.index] = fixed.outputs[plan.fix_point_owner[node.inputs[0]]]
    for node in plan.convolutions:
        _limit_convolution(plan, node, fixed)
    return fixed


def within_limits(plan: Plan, node: Node, fixed: FixPoints) -> bool:
    """Whether a convolution's fix points need none of these adjustments."""
    at_input = fixed.outputs[plan.fix_point_owner[node.inputs[0]]]
    cut = fixed.weights[node.index] + at_input - fixed.outputs[plan.fix_point_owner[node.index]]
    shift = fixed.weights[node.index] + at_input - fixed.biases[node.index]
    return 0 <= cut <= MAX_SHIFT and _lowest_bias_shift(cut) <= shift <= MAX_SHIFT


def _lowest_bias_shift(cut: int) -> int:
    return min(0, -(ACCUMULATOR_BITS - (INT8_BITS + cut)))


def _limit_convolution(plan: Plan, node: Node, fixed: FixPoints) -> None:
    source, output = plan.fix_point_owner[node.inputs[0]], plan.fix_point_owner[node.index]
    at_input = fixed.outputs[source]
    cut = fixed.weights[node.index] + at_input - fixed.outputs[output]
    if cut < 0:
        _move(fixed.outputs, output, cut, f"layer {node.layer}: output")
    elif cut > MAX_SHIFT:
        _move(fixed.weights, node.index, MAX_SHIFT - cut, f"layer {node.layer}: weight")
    shift = fixed.weights[node.index] + at_input - fixed.biases[node.index]
    lowest = _lowest_bias_shift(cut)
    if shift < lowest:
        _move(fixed.biases, node.index, shift - lowest, f"layer {node.layer}: bias")
    elif shift > MAX_SHIFT:
        _move(fixed.weights, node.index, MAX_SHIFT - shift, f"layer {node.layer}: weight")


def _move(fix_points: dict[int, int], index: int, by: int, what: str) -> None:
    log.info(
        "%s fix point %d -> %d, because of the DPU's shift limits", what, fix_points[index], fix_points[index] + by
    )
    fix_points[index] += by
