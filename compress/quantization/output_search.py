"""Fix points chosen by the network's own outputs, beyond nndct, which looks at each tensor alone.

A coordinate search: layer by layer, the noisiest first, the fix points of activation, weights and bias are moved by
one and stay moved where the heads come nearer to the float network's. What follows a layer is computed anew each
time, what precedes it is not. The DPU's shift limits hold at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from compress.quantization.fix_points import FixPoints, within_limits
from compress.quantization.grid_network import grid_output
from compress.quantization.plan import Node, Plan
from compress.quantization.positions import MAX_FIX_POINT, fake_quantize, half_away
from compress.quantization.quantized_network import QuantizedNetwork
from compress.quantization.report import measure
from compress.quantization.signal_to_noise import SignalToNoise, decibels, heads_noise_share
from compress.quantization.simulation import Parameters, float_compute, run_plan, unrounded

PASSES = 3  # over all layers; a pass that moves nothing is the last
WORK = 6e12  # operations that the search may take: some minutes on one core
_KEPT_NUMBERS = 2.5e8  # activations that are kept at a time, 1 GB
_OPERATIONS_A_NUMBER = 60  # what rounding, copying and comparing one costs, in multiply-accumulates
_CHUNK = 8  # images computed together
_FEWEST = 4  # images that can speak for the others

Values = dict[int, Tensor]  # by index of the node, (N, C, H, W)
Progress = Callable[[float], None]  # told the share of the allowed work that is done
Move = tuple[Literal["outputs", "weights", "biases"], int]  # which fix point


@dataclass(frozen=True)
class Choice:
    """What a search found: fix points, and the heads' mean noise share over all images before and after."""

    fix_points: FixPoints
    noise_before: float
    noise_after: float

    @property
    def gain_db(self) -> float:
        """By how much the heads came nearer, in dB; 0 where nothing was found."""
        before, after = decibels(self.noise_before), decibels(self.noise_after)
        return 0.0 if before is None or after is None else after - before


@torch.no_grad()
def choose_by_outputs(
    quantized: QuantizedNetwork,
    parameters: Parameters,
    batches: Sequence[Tensor],
    progress: Progress = lambda share: None,
    work: float = WORK,
) -> Choice:
    """Fix points with which the heads are nearer to the float network's, or those of `quantized` where none are.

    The search runs on as many of the images, spread evenly, as the allowed work and 1 GB take; whether it found
    something is decided on all of them. The same input gives the same result.

    Args:
        quantized: where the search starts; its `float_parameters` are the target.
        parameters: what is rounded, by index of the node: float, biases corrected or not.
        batches: calibration images, float32 (N, 3, H, W) each.
        progress: called with the share of the allowed work that is done.
        work: multiply-accumulates that may be spent, a hard limit but for the move that reaches it.
    """
    images = torch.cat(list(batches))
    found = _Search(quantized, parameters, _spread(images, quantized.plan, work), progress, work).run()
    better = QuantizedNetwork(quantized.name, quantized.plan, found, parameters)
    before, after = heads_noise(quantized, batches), heads_noise(better, batches, quantized.float_parameters)
    if after < before:
        return Choice(found, before, after)
    return Choice(quantized.fix_points, before, before)


@torch.no_grad()
def heads_noise(quantized: QuantizedNetwork, batches: Sequence[Tensor], target: Parameters | None = None) -> float:
    """The mean noise share of an int8 network's heads against the float network of `target`, or else its own."""
    exact = float_compute(quantized.float_parameters if target is None else target)
    heads = [SignalToNoise() for _ in quantized.heads]
    for batch in batches:
        for snr, reference, output in zip(heads, run_plan(quantized.plan, batch, exact), quantized(batch), strict=True):
            snr.add(reference, output)
    return heads_noise_share(heads)


class _Search:
    """The present fix points, and every activation that they give on the search's images."""

    def __init__(
        self, start: QuantizedNetwork, parameters: Parameters, images: Tensor, progress: Progress, work: float
    ) -> None:
        self.plan, self._parameters, self._fixed = start.plan, parameters, start.fix_points
        self._chunks = torch.split(images, _CHUNK)
        self._progress, self._work, self._spent = progress, work, 0.0
        self._order = _noisiest_first(start, self._chunks)
        self._rounded: dict[tuple[str, int, int], Tensor] = {}
        self._cost = [_operations(node, self.plan) * len(images) for node in self.plan.nodes]
        self._beyond = {  # nndct's own adjustments may end there
            node.index for node in self.plan.convolutions if not within_limits(self.plan, node, self._fixed)
        }
        exact = float_compute(start.float_parameters)
        self._targets = [run_plan(self.plan, chunk, exact) for chunk in self._chunks]
        self._energy = [
            max(sum(heads[k].square().sum().item() for heads in self._targets), torch.finfo(torch.float32).tiny)
            for k in range(len(self.plan.heads))
        ]
        self._values: list[Values] = [{} for _ in self._chunks]
        self._noise, self._values = self._evaluate(self._fixed, {0}, math.inf)

    def run(self) -> FixPoints:
        """The fix points when no move helps any more, or the work is done."""
        for _ in range(PASSES):
            moved = False
            for node in self._order:
                for move in _moves(node, self.plan):
                    moved |= self._settle(move)
            if not moved:
                break
        return self._fixed

    def _settle(self, move: Move) -> bool:
        """Move one fix point in each direction for as long as it helps."""
        moved = False
        for by in (-1, 1):
            while not self._spent > self._work and self._try(move, by):
                moved = True
            if moved:
                break
        return moved

    def _try(self, move: Move, by: int) -> bool:
        fixed, changed = _moved(self.plan, self._fixed, move, by)
        if not self._allowed(fixed, move):
            return False
        noise, values = self._evaluate(fixed, changed, self._noise)
        if noise >= self._noise:
            return False
        self._fixed, self._noise = fixed, noise
        for kept, new in zip(self._values, values, strict=True):
            kept.update(new)
        return True

    def _allowed(self, fixed: FixPoints, move: Move) -> bool:
        kind, index = move
        return getattr(fixed, kind)[index] <= MAX_FIX_POINT and all(
            within_limits(self.plan, node, fixed) for node in self.plan.convolutions if node.index not in self._beyond
        )

    def _evaluate(self, fixed: FixPoints, changed: set[int], limit: float) -> tuple[float, list[Values]]:
        """The heads' noise, or some number from `limit` on, and the values that are new because of `changed`."""
        nodes = _downstream(self.plan, changed)
        noise, every = 0.0, []
        for chunk, kept, targets in zip(self._chunks, self._values, self._targets, strict=True):
            new: Values = {}
            for node in nodes:
                inputs = [new[source] if source in new else kept[source] for source in node.inputs] or [chunk]
                output = unrounded(node, inputs, lambda index: self._parameters_on_grid(index, fixed))
                new[node.index] = grid_output(self.plan, fixed, node, output)
            every.append(new)
            for k, head in enumerate(self.plan.heads):
                output = new[head] if head in new else kept[head]
                noise += (output - targets[k]).square().sum().item() / self._energy[k]
            if noise >= limit:
                break
        self._spent += sum(self._cost[node.index] for node in nodes)
        self._progress(min(1.0, self._spent / self._work))
        return noise, every

    def _parameters_on_grid(self, index: int, fixed: FixPoints) -> tuple[Tensor, Tensor]:
        weight = self._parameter("weight", index, fixed.weights[index])
        return weight, self._parameter("bias", index, fixed.biases[index])

    def _parameter(self, kind: str, index: int, fix_point: int) -> Tensor:
        key = kind, index, fix_point
        if key not in self._rounded:
            self._rounded = {old: value for old, value in self._rounded.items() if self._in_use(*old)}
            self._rounded[key] = fake_quantize(self._parameters[index][kind == "bias"], fix_point, half_away)
        return self._rounded[key]

    def _in_use(self, kind: str, index: int, fix_point: int) -> bool:
        return (self._fixed.biases if kind == "bias" else self._fixed.weights)[index] == fix_point


def _moves(node: Node, plan: Plan) -> Iterator[Move]:
    if plan.has_fix_point(node) and not node.copies:  # which has its input's
        yield "outputs", node.index
    if node.kind == "conv":
        yield "weights", node.index
        yield "biases", node.index


def _moved(plan: Plan, fixed: FixPoints, move: Move, by: int) -> tuple[FixPoints, set[int]]:
    """New fix points, and the nodes whose values they change by themselves."""
    kind, index = move
    new = {**getattr(fixed, kind), index: getattr(fixed, kind)[index] + by}
    changed = {index}
    if kind == "outputs":
        for node in plan.nodes:
            if node.copies and plan.has_fix_point(node):
                source = plan.fix_point_owner[node.inputs[0]]
                if source in changed:
                    new[node.index] = new[source]
                    changed.add(node.index)
    return replace(fixed, **{kind: new}), changed


def _downstream(plan: Plan, changed: set[int]) -> list[Node]:
    reached = set(changed)
    for node in plan.nodes:
        if reached.intersection(node.inputs):
            reached.add(node.index)
    return [node for node in plan.nodes if node.index in reached]


def _noisiest_first(start: QuantizedNetwork, chunks: Sequence[Tensor]) -> list[Node]:
    return [start.plan.by_layer[entry.layer] for entry in measure(start, chunks).layers]


def _operations(node: Node, plan: Plan) -> float:
    """What one image costs at this node, in multiply-accumulates."""
    channels, height, width = node.shape
    numbers = float(channels * height * width)
    taps = plan.nodes[node.inputs[0]].shape[0] * node.size**2 if node.kind == "conv" else 0
    return numbers * (taps + _OPERATIONS_A_NUMBER)


def _spread(images: Tensor, plan: Plan, work: float) -> Tensor:
    """As many images, spread evenly, as memory allows and as leave work for a pass over all layers."""
    a_pass = sum(
        2 * len(list(_moves(node, plan))) * sum(_operations(after, plan) for after in _downstream(plan, {node.index}))
        for node in plan.nodes
    )
    numbers = sum(channels * height * width for channels, height, width in (node.shape for node in plan.nodes))
    count = max(_FEWEST, int(min(work / a_pass, _KEPT_NUMBERS / (2 * numbers))))
    if count >= len(images):
        return images
    return images[torch.linspace(0, len(images) - 1, count).round().long()]
