"""Batch normalisation folded into the convolution before it, in float32."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from compress.darknet.network import ConvolutionLayer


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
