"""The quantiser's operators in float torch, and the walk over a plan that calibration and inference share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as functional
from torch import Tensor

from compress.quantization.plan import Activation, Node, Plan
from dpu.arithmetic import LEAKY_SLOPE

Compute = Callable[[Node, list[Tensor]], Tensor]
Parameters = Mapping[int, tuple[Tensor, Tensor]]  # node index -> float32 weight OIHW and bias


def run_plan(plan: Plan, x: Tensor, compute: Compute) -> list[Tensor]:
    """The heads' outputs (N, C, H, W), in cfg order, each node computed once and freed when nobody reads it any more.

    Args:
        plan: the nodes.
        x: the network's input, (N, C, H, W).
        compute: from a node and its inputs (x for the input node) to its output; it must not change the inputs.
    """
    values: dict[int, Tensor] = {}
    waiting = [len(readers) for readers in plan.consumers]
    for node in plan.nodes:
        inputs = [values[source] for source in node.inputs] or [x]
        values[node.index] = compute(node, inputs)
        for source in set(node.inputs):
            waiting[source] -= 1
            if not waiting[source] and source not in plan.heads:
                del values[source]
    return [values[head] for head in plan.heads]


def float_compute(parameters: Parameters) -> Compute:
    """What each node computes in float, nothing rounded, with these parameters."""
    return lambda node, inputs: unrounded(node, inputs, parameters.__getitem__)


def unrounded(node: Node, inputs: list[Tensor], parameters_of: Callable[[int], tuple[Tensor, Tensor]]) -> Tensor:
    """A node's output (N, C, H, W) before it is rounded; `parameters_of` gives a convolution's weight and bias."""
    if node.kind == "conv":
        return apply_activation(convolve(node, inputs[0], *parameters_of(node.index)), node.activation)
    return inputs[0] if node.kind == "input" else pool_or_join(node, inputs)


def convolve(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of a node, without activation, (N, C, H, W)."""
    return functional.conv2d(x, weight, bias, node.stride, node.pad[0])


def apply_activation(x: Tensor, activation: Activation) -> Tensor:
    """The activation as the DPU's quantiser computes it; `x` may be overwritten."""
    if activation == "leaky":
        return functional.leaky_relu_(x, LEAKY_SLOPE)
    return functional.relu_(x) if activation == "relu" else x


def pool_or_join(node: Node, inputs: list[Tensor]) -> Tensor:
    """The output (N, C, H, W) of a node without parameters, before it is rounded."""
    if node.kind == "maxpool":
        if any(node.pad):
            inputs = [functional.pad(inputs[0], node.pad, value=float("-inf"))]
        return functional.max_pool2d(inputs[0], node.size, node.stride)
    if node.kind == "upsample":
        return functional.interpolate(inputs[0], scale_factor=node.stride, mode="nearest")
    if node.kind == "slice":
        return inputs[0][:, node.begin : node.begin + node.shape[0]]
    if node.kind == "concat":
        return torch.cat(inputs, dim=1)
    return inputs[0] + inputs[1]
