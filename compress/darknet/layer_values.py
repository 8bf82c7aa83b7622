"""A convolution's tensors in the order that Darknet files have."""

from __future__ import annotations

from typing import Dict, Iterator, List, Tuple

import numpy as np
from torch import Tensor

from compress.darknet.network import ConvolutionLayer, DarknetNetwork

LayerValues = List[np.ndarray]  # float32, in the order of `parameters`


def convolutions(network: DarknetNetwork) -> Iterator[Tuple[int, ConvolutionLayer]]:
    """Every convolution with its index among the cfg's layers."""
    for index, layer in enumerate(network.layers):
        if isinstance(layer, ConvolutionLayer):
            yield index, layer


def parameters(layer: ConvolutionLayer) -> Dict[str, Tensor]:
    """The layer's tensors by their names in torch: beta, gamma, mean, variance (or the bias alone), then weights."""
    if layer.bn is None:
        assert layer.conv.bias is not None
        return {"conv.bias": layer.conv.bias, "conv.weight": layer.conv.weight}
    assert layer.bn.running_mean is not None and layer.bn.running_var is not None
    return {
        "bn.bias": layer.bn.bias,
        "bn.weight": layer.bn.weight,
        "bn.running_mean": layer.bn.running_mean,
        "bn.running_var": layer.bn.running_var,
        "conv.weight": layer.conv.weight,
    }


def as_float32(parameter: Tensor) -> np.ndarray:
    """The tensor's numbers, little-endian and in the order of its axes whatever its memory's."""
    values: np.ndarray = parameter.detach().cpu().contiguous().numpy().astype("<f4", copy=False)
    return values
