"""A network on the DPU's int8 grid: parameters and activations as integers times powers of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.quantization.fix_points import FixPoints
from compress.quantization.plan import Node, Plan
from compress.quantization.positions import fake_quantize, half_away, half_up, to_integers
from compress.quantization.simulation import Parameters, apply_activation, convolve, pool_or_join, run_plan

EXACT_FLOAT32 = 1 << 24  # integers up to here, and their sums on the way, are exact in float32

_CFG_TYPES = {"conv": "convolutional", "add": "shortcut", "concat": "route", "slice": "route"}


@dataclass(frozen=True)
class QuantizedConvolution:
    """One convolution's integers: `weight` int8 (O, H, W, I), `bias` int8 (O,); value = integer x 2^-fix_point."""

    layer: int
    weight: np.ndarray
    bias: np.ndarray
    weight_fix_point: int
    bias_fix_point: int


@dataclass(frozen=True)
class QuantizedHead:
    """One output: the cfg layer of the head convolution, the name of its tensor and its fix point."""

    layer: int
    tensor: str
    fix_point: int


class QuantizedNetwork(nn.Module):
    """The int8 network, simulated in torch: every value is on its grid, every rounding is the DPU's.

    Called on a batch (N, 3, H, W), RGB / 255, it gives the raw heads (N, C, H, W) float32 in cfg order, equal to
    what the integers of the DPU mean. Sums are exact: convolutions run in float32 where their weights prove that no
    sum can pass 2^24, in float64 elsewhere; what follows a convolution is in float64.

    Attributes:
        name: of the network; the exported graph's too.
        plan: its operators.
        fix_points: in use, by index of the node.
        convolutions: the int8 parameters, by cfg layer.
        history: fix points found at each calibration forward, by cfg layer (-1: the input).
        float_parameters: what the int8 parameters stand for, by index of the node, before any rounding or correction.
        heads: the outputs.
        heads_gain_db: by how much choosing fix points by the outputs brought the heads nearer to the float network's;
            None where every tensor has its own choice.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        fix_points: FixPoints,
        parameters: Parameters,
        history: Mapping[int, Sequence[int]] | None = None,
        float_parameters: Parameters | None = None,
    ) -> None:
        """`parameters` are float32 weight OIHW and bias by index of the node; they are rounded here.

        Where they are not the float network's own, their biases being corrected, those are `float_parameters`.
        """
        super().__init__()
        self.name, self.plan, self.fix_points = name, plan, fix_points
        self.history = {layer: tuple(found) for layer, found in (history or {}).items()}
        self.float_parameters = parameters if float_parameters is None else float_parameters
        self.heads_gain_db: float | None = None
        self.convolutions: dict[int, QuantizedConvolution] = {}
        for node in plan.convolutions:
            self._add_convolution(node, *parameters[node.index])
        self.heads = tuple(
            QuantizedHead(plan.nodes[head].layer, plan.nodes[head].tensor, fix_points.outputs[head])
            for head in plan.heads
        )

    @property
    def input_tensor(self) -> str:
        """The name of the int8 input."""
        return self.plan.nodes[0].tensor

    @property
    def input_fix_point(self) -> int:
        """The fix point of the input."""
        return self.fix_points.outputs[0]

    def output_fix_point(self, layer: int) -> int | None:
        """The fix point of a cfg layer's output, None where it has none of its own."""
        node = self.plan.by_layer.get(layer)
        return None if node is None else self.fix_points.outputs.get(node.index)

    @torch.no_grad()
    def forward(self, x: Tensor) -> list[Tensor]:
        """The raw heads, float32 (N, C, H, W), in cfg order; `x` is float32 (N, 3, H, W), RGB / 255."""
        return run_plan(self.plan, x, self.compute)

    @torch.no_grad()
    def forward_int8(self, x: Tensor) -> dict[str, np.ndarray]:
        """Every tensor with a fix point of its own, input included: int8 (N, H, W, C) by the tensor's name."""
        tensors: dict[str, np.ndarray] = {}

        def compute(node: Node, inputs: list[Tensor]) -> Tensor:
            output = self.compute(node, inputs)
            if self.plan.has_fix_point(node):
                integers = output * 2.0 ** self.fix_points.outputs[node.index]
                tensors[node.tensor] = integers.to(torch.int8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
            return output

        run_plan(self.plan, x, compute)
        return tensors

    def positions(self) -> dict[str, Any]:
        """Every fix point by cfg layer, ready for JSON; `node` is nndct's name without the network's."""
        layers = {}
        for node in self.plan.nodes[1:]:
            entry: dict[str, Any] = {
                "type": cfg_type(node),
                "output": self.fix_points.outputs.get(node.index),
            }
            if node.kind == "conv":
                entry["weight"] = self.fix_points.weights[node.index]
                entry["bias"] = self.fix_points.biases[node.index]
            layers[str(node.layer)] = {**entry, "tensor": node.tensor, "node": node.nndct_node}
        return {"input": self.input_fix_point, "layers": layers, "heads": [head.layer for head in self.heads]}

    def _add_convolution(self, node: Node, weight: Tensor, bias: Tensor) -> None:
        at_weight, at_bias = self.fix_points.weights[node.index], self.fix_points.biases[node.index]
        weight = to_integers(weight, at_weight, half_away)
        bias = to_integers(bias, at_bias, half_away)
        self.convolutions[node.layer] = QuantizedConvolution(
            node.layer,
            weight.permute(0, 2, 3, 1).contiguous().to(torch.int8).numpy(),
            bias.to(torch.int8).numpy(),
            at_weight,
            at_bias,
        )
        # an int8 input is at most 128 in size
        in_float32 = 128 * float(weight.abs().sum(dim=(1, 2, 3), dtype=torch.float64).max()) <= EXACT_FLOAT32
        weight = weight * 2.0**-at_weight
        self.register_buffer(f"weight{node.layer}", weight if in_float32 else weight.double())
        self.register_buffer(f"bias{node.layer}", bias.double().mul(2.0**-at_bias).reshape(1, -1, 1, 1))

    def compute(self, node: Node, inputs: list[Tensor]) -> Tensor:
        """A node's output (N, C, H, W) from those of its inputs, on its grid where it has a fix point of its own."""
        if node.kind == "conv":
            weight = self.get_buffer(f"weight{node.layer}")
            sums = convolve(node, inputs[0].to(weight.dtype), weight, None).double()
            output = apply_activation(sums.add_(self.get_buffer(f"bias{node.layer}")), node.activation)
        else:
            output = inputs[0] if node.kind == "input" else pool_or_join(node, inputs)
        if not self.plan.has_fix_point(node):
            return output  # the concatenation after it rounds
        return fake_quantize(output, self.fix_points.outputs[node.index], half_up).float()


def cfg_type(node: Node) -> str:
    """The type of the node's cfg section; "input" of the input."""
    return _CFG_TYPES.get(node.kind, node.kind)
