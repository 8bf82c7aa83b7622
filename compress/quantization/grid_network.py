"""A network that trains on the DPU's grid: rounded in every forward pass, float underneath.

The fix points are those of a calibrated network and stay; weights and biases learn to live with the rounding.
Gradients pass the rounding unchanged and stop where a value saturates (straight-through estimator).
Sources: Bengio et al., arXiv:1308.3432; Jacob et al., arXiv:1712.05877.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compress.darknet.cfg import Cfg
from compress.darknet.heads import Head
from compress.darknet.network import DarknetNetwork
from compress.quantization.fix_points import FixPoints
from compress.quantization.plan import Node, Plan
from compress.quantization.quantized_network import QuantizedNetwork
from compress.quantization.simulation import run_plan, unrounded

_UPWARDS = 2.0**-14  # of a step: torch rounds halves to even, the DPU rounds them up, and sums often are halves


class GridNetwork(nn.Module):
    """Float parameters with the batch normalisation folded in, computed through the int8 grid.

    Called on float32 (N, 3, H, W), RGB / 255, it gives the raw heads (N, A*(5+C), h, w), differentiable; what it
    computes is what `quantized()` computes, but for sums that float32 rounds.

    Args:
        network: the float network, for its cfg and heads.
        quantized: the same network calibrated: its fix points are used, and its float parameters, which equalisation
            may have changed, are where training starts.
    """

    def __init__(self, network: DarknetNetwork, quantized: QuantizedNetwork) -> None:
        super().__init__()
        self.cfg: Cfg = network.cfg
        self.heads: Sequence[Head] = network.heads
        self._name, self._plan, self._fix_points = quantized.name, quantized.plan, quantized.fix_points
        self._history = quantized.history
        parameters = quantized.float_parameters
        self.weights = nn.ParameterDict({str(index): weight.clone() for index, (weight, _) in parameters.items()})
        self.biases = nn.ParameterDict({str(index): bias.clone() for index, (_, bias) in parameters.items()})

    def forward(self, x: Tensor) -> list[Tensor]:
        """The raw heads in cfg order."""
        return run_plan(self._plan, x, self._compute)

    def quantized(self) -> QuantizedNetwork:
        """The int8 network of the present parameters."""
        parameters = {
            node.index: (self.weights[str(node.index)].detach().contiguous(), self.biases[str(node.index)].detach())
            for node in self._plan.convolutions
        }
        return QuantizedNetwork(self._name, self._plan, self._fix_points, parameters, self._history)

    def _compute(self, node: Node, inputs: list[Tensor]) -> Tensor:
        return grid_output(self._plan, self._fix_points, node, unrounded(node, inputs, self._parameters_on_grid))

    def _parameters_on_grid(self, index: int) -> tuple[Tensor, Tensor]:
        weight = _on_grid(self.weights[str(index)], self._fix_points.weights[index])
        return weight, _on_grid(self.biases[str(index)], self._fix_points.biases[index])


def grid_output(plan: Plan, fix_points: FixPoints, node: Node, output: Tensor) -> Tensor:
    """A node's output as the DPU rounds it, halves up, but for what is less than 2^-14 of a step below a half.

    A node without a fix point of its own is not rounded.
    """
    if not plan.has_fix_point(node):
        return output
    fix_point = fix_points.outputs[node.index]
    return _on_grid(output + 2.0**-fix_point * _UPWARDS, fix_point)


def _on_grid(values: Tensor, fix_point: int) -> Tensor:
    """The nearest int8 x 2^-fix_point, with the gradient of the identity inside the range."""
    return torch.fake_quantize_per_tensor_affine(values, 2.0**-fix_point, 0, -128, 127)
