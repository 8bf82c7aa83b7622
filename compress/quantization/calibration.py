"""Calibration: fix points found on float batches, as nndct's calibration forwards find them."""

from __future__ import annotations

import torch
from torch import Tensor

from board_app.core.errors import InputError
from compress.quantization.bias_correction import BiasCorrection
from compress.quantization.fix_points import FixPoints
from compress.quantization.plan import Node, Plan
from compress.quantization.positions import (
    SCOPE_INPUT,
    SCOPE_TENSOR,
    capped,
    fake_quantize,
    find_fix_point,
    half_away,
    half_up,
    mode,
)
from compress.quantization.simulation import Parameters, apply_activation, convolve, pool_or_join, run_plan


class Calibration:
    """Forwards in which every tensor's fix point is searched, and used at once by the layers after it.

    Weights and biases are rounded once, at their own fix points. An activation's fix point is the most frequent of
    the ones found so far, so the order of the batches matters. With bias correction the biases drift off the grid.
    """

    def __init__(self, plan: Plan, parameters: Parameters, bias_correction: bool) -> None:
        """`parameters` are the folded float parameters; they are not changed."""
        self.plan = plan
        self.history: dict[int, list[int]] = {node.index: [] for node in plan.nodes if plan.has_fix_point(node)}
        self._float = parameters
        self._weight_fix_points = {index: _fix_point(weight) for index, (weight, _) in parameters.items()}
        self._bias_fix_points = {index: _fix_point(bias) for index, (_, bias) in parameters.items()}
        self._weights = {
            index: fake_quantize(weight, self._weight_fix_points[index], half_away)
            for index, (weight, _) in parameters.items()
        }
        self._biases = {
            index: fake_quantize(bias, self._bias_fix_points[index], half_away)
            for index, (_, bias) in parameters.items()
        }
        self._corrections = {index: BiasCorrection() for index in parameters} if bias_correction else {}

    @torch.no_grad()
    def forward(self, x: Tensor) -> None:
        """Take in one batch, (N, 3, H, W) float32, at any N.

        Raises:
            InputError: the batch or a layer's output is not finite.
        """
        run_plan(self.plan, x, self._compute)

    def fix_points(self) -> FixPoints:
        """What was found so far, before the limits of the DPU's shifters.

        Raises:
            ValueError: no batch was taken in.
        """
        outputs = {index: mode(found) for index, found in self.history.items()}
        return FixPoints(outputs, self._weight_fix_points, self._bias_fix_points)

    def bias_corrections(self) -> dict[int, Tensor]:
        """By index of the convolution's node what is subtracted from its float bias before that is rounded."""
        return {index: self._float[index][1] - self._biases[index] for index in self._corrections}

    def _compute(self, node: Node, inputs: list[Tensor]) -> Tensor:
        if node.kind == "conv":
            return self._convolve(node, inputs[0])
        output = inputs[0] if node.kind == "input" else pool_or_join(node, inputs)
        return self._rounded(node, output)

    def _convolve(self, node: Node, x: Tensor) -> Tensor:
        output = convolve(node, x, self._weights[node.index], self._biases[node.index])
        if node.activation == "linear":
            output = self._rounded(node, output)
            self._correct_bias(node, x, output)
            return output
        self._correct_bias(node, x, output)
        return self._rounded(node, apply_activation(output, node.activation))

    def _correct_bias(self, node: Node, x: Tensor, output: Tensor) -> None:
        correction = self._corrections.get(node.index)
        if correction is None or correction.stopped:
            return
        step = correction.step(output, convolve(node, x, *self._float[node.index]))
        if step is not None:
            self._biases[node.index] = self._biases[node.index] - step

    def _rounded(self, node: Node, x: Tensor) -> Tensor:
        if not self.plan.has_fix_point(node):
            return x
        history = self.history[node.index]
        try:
            history.append(capped(find_fix_point(x, SCOPE_INPUT if node.kind == "input" else SCOPE_TENSOR)))
        except ValueError as error:
            what = "the input" if node.kind == "input" else f"the output of layer {node.layer}"
            raise InputError(
                f"calibration: expected finite numbers, found {error} in {what}. "
                "Check the images, and whether the training of these weights diverged."
            ) from error
        return fake_quantize(x, mode(history), half_up)


def _fix_point(parameter: Tensor) -> int:
    return capped(find_fix_point(parameter))
