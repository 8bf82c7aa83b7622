"""Batch normalisation folded into the convolution before it, in float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compress.darknet.network import ConvolutionLayer


@torch.no_grad()
def folded_parameters(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (O, I, H, W) and bias (O,) that do what convolution and batch normalisation do in evaluation mode.

    s = gamma / sqrt(var + eps); W' = W * s; b' = beta - mean * s. Without batch normalisation they are copies.
    `layer` is a `ConvolutionLayer`.
    """
    assert isinstance(layer, ConvolutionLayer)
    weight = layer.conv.weight.detach()
    if layer.bn is None:
        assert layer.conv.bias is not None
        return weight.clone(), layer.conv.bias.detach().clone()
    assert layer.bn.running_var is not None and layer.bn.running_mean is not None
    scale = layer.bn.weight / torch.sqrt(layer.bn.running_var + layer.bn.eps)
    return weight * scale.reshape(-1, 1, 1, 1), layer.bn.bias - layer.bn.running_mean * scale
