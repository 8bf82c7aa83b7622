"""Equalisation by the ranges of activations, across leaky convolutions too, beyond nndct.

A leaky ReLU passes a positive factor on unchanged, and so do pooling, upsampling, concatenation and addition: a channel
may be scaled where it is made if all its readers, convolutions, are scaled back. Channels that a shortcut adds are one
channel. The input and the heads stay as they are. After Nagel et al., Data-Free Quantization, arXiv:1906.04721, who
scale between ReLU layers by the ranges of weights alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from compress.quantization.equalization import FoldedParameters
from compress.quantization.plan import Node, Plan
from compress.quantization.simulation import Parameters, float_compute, run_plan

_NEGLIGIBLE = 1e-6  # of the tensor's range: a channel that is as good as dead stays


def balance_activations(
    plan: Plan, parameters: Parameters, batches: Sequence[Tensor], strength: float
) -> FoldedParameters:
    """New parameters, by index of the node, that compute the same function with more even activations.

    A channel is multiplied by (w / a)^strength, where a is its largest activation as a share of its tensor's and w the
    largest weight that reads it as a share of its convolution's: at 1/2 both shares become equal.

    Args:
        plan: the operators.
        parameters: folded, float32; they are not changed.
        batches: the images on which activations are measured, float32 (N, 3, H, W) each.
        strength: 0 changes nothing.
    """
    channels = _Channels(plan)
    scale = channels.scales(_activation_ranges(plan, parameters, batches), parameters, strength)
    balanced: FoldedParameters = {}
    for node in plan.convolutions:
        weight, bias = parameters[node.index]
        made = torch.from_numpy(scale[channels.of[node.index]])
        read = torch.from_numpy(scale[channels.of[node.inputs[0]]])
        weight = weight * made.reshape(-1, 1, 1, 1) / read.reshape(1, -1, 1, 1)
        balanced[node.index] = (weight.contiguous(), bias * made)
    return balanced


@torch.no_grad()
def _activation_ranges(plan: Plan, parameters: Parameters, batches: Sequence[Tensor]) -> dict[int, np.ndarray]:
    """For each node the largest magnitude of each channel, (C,)."""
    exact = float_compute(parameters)
    ranges = {node.index: np.zeros(node.shape[0], np.float32) for node in plan.nodes}

    def compute(node: Node, inputs: list[Tensor]) -> Tensor:
        output = exact(node, inputs)
        ranges[node.index] = np.maximum(ranges[node.index], output.abs().amax(dim=(0, 2, 3)).numpy())
        return output

    for batch in batches:
        run_plan(plan, batch, compute)
    return ranges


class _Channels:
    """Which channels are one: `of` has for each node the number of each of its channels, (C,)."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._parent: list[int] = []
        made: dict[int, list[int]] = {}
        for node in plan.nodes:
            made[node.index] = self._made(node, [made[source] for source in node.inputs])
        self.of = {index: np.array([self._first(channel) for channel in numbers]) for index, numbers in made.items()}
        self._fixed = np.unique(np.concatenate([self.of[index] for index in (0, *plan.heads)]))

    def scales(self, ranges: dict[int, np.ndarray], parameters: Parameters, strength: float) -> np.ndarray:
        """The factor of every channel number, float32."""
        made, read = np.zeros((2, len(self._parent)), np.float32)
        for node in self.plan.nodes:
            if self.plan.has_fix_point(node):
                np.maximum.at(made, self.of[node.index], _shares(ranges[node.index]))
            if node.kind == "conv":
                weights = parameters[node.index][0].abs().amax(dim=(0, 2, 3)).numpy()
                np.maximum.at(read, self.of[node.inputs[0]], _shares(weights))
        alive = (made > _NEGLIGIBLE) & (read > _NEGLIGIBLE)
        alive[self._fixed] = False
        scale = np.ones(len(self._parent), np.float32)
        scale[alive] = (read[alive] / made[alive]) ** np.float32(strength)
        return scale

    def _made(self, node: Node, inputs: list[list[int]]) -> list[int]:
        if node.kind in ("input", "conv"):
            numbers = list(range(len(self._parent), len(self._parent) + node.shape[0]))
            self._parent += numbers
            return numbers
        if node.kind == "concat":
            return [channel for numbers in inputs for channel in numbers]
        if node.kind == "slice":
            return inputs[0][node.begin : node.begin + node.shape[0]]
        if node.kind == "add":
            for one, other in zip(*inputs, strict=True):
                first, second = sorted((self._first(one), self._first(other)))
                self._parent[second] = first
        return inputs[0]

    def _first(self, channel: int) -> int:
        while self._parent[channel] != channel:
            channel = self._parent[channel]
        return channel


def _shares(ranges: np.ndarray) -> np.ndarray:
    largest = ranges.max()
    return ranges / largest if largest > 0 else ranges
