"""Batch normalisation folded into the convolution before it, in float32."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from compress.darknet.network import ConvolutionLayer, DarknetNetwork


@torch.no_grad()
def folded_parameters(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (O, I, H, W) and bias (O,) that do what convolution and batch normalisation do in evaluation mode.

    s = gamma / sqrt(var + eps); W' = W * s; b' = beta - mean * s. Without batch normalisation they are copies.
    `layer` is a `ConvolutionLayer`. numpy computes the scale, as in pytorch_nndct: torch's own float32 square root on
    a CPU is off by one bit here and there, which can turn an int8 weight.
    """
    assert isinstance(layer, ConvolutionLayer)
    weight = layer.conv.weight.detach().cpu().contiguous()
    if layer.bn is None:
        assert layer.conv.bias is not None
        return weight.clone(), layer.conv.bias.detach().cpu().clone()
    statistics = (layer.bn.weight, layer.bn.bias, layer.bn.running_mean, layer.bn.running_var)
    gamma, beta, mean, variance = (values.detach().cpu().numpy() for values in statistics if values is not None)
    with np.errstate(invalid="ignore", divide="ignore"):  # whoever needs finite values names the layer
        scale = gamma / np.sqrt(variance + np.float32(layer.bn.eps))
    return weight * torch.from_numpy(scale).reshape(-1, 1, 1, 1), torch.from_numpy(beta - mean * scale)


def folded(network: DarknetNetwork) -> DarknetNetwork:
    """A copy in evaluation mode whose convolutions do their batch normalisation's work; it has no gradients."""
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    for layer in copied.layers:
        if isinstance(layer, ConvolutionLayer) and layer.bn is not None:
            weight, bias = folded_parameters(layer)
            layer.conv.weight, layer.conv.bias = (nn.Parameter(values, False) for values in (weight, bias))
            layer.bn = None
    return copied
