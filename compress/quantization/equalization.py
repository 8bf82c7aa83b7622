"""Cross-layer equalisation: channel scales moved between two convolutions so that both use eight bits better.

Only along convolution -> (ReLU | pooling)* -> convolution with one reader each, as nndct does it; a leaky ReLU ends
a chain, so an all-leaky network stays as it is. After Nagel et al., Data-Free Quantization, arXiv:1906.04721.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compress.quantization.plan import Node, Plan

FoldedParameters = dict[int, tuple[Tensor, Tensor]]


def equalize(plan: Plan, parameters: FoldedParameters) -> FoldedParameters:
    """New parameters, by index of the node, that compute the same function; one pass in running order."""
    equalized = dict(parameters)
    for node in plan.convolutions:
        follower = _next_in_chain(plan, node)
        if follower is not None:
            weight, bias = equalized[node.index]
            next_weight, next_bias = equalized[follower.index]
            scale = _scale(weight, bias, next_weight)
            equalized[node.index] = (weight / scale.reshape(-1, 1, 1, 1), bias / scale)
            equalized[follower.index] = (next_weight * scale.reshape(1, -1, 1, 1), next_bias)
    return equalized


def _next_in_chain(plan: Plan, node: Node) -> Node | None:
    while node.kind in ("conv", "maxpool"):
        readers = plan.consumers[node.index]
        if node.activation == "leaky" or len(readers) != 1 or node.index in plan.heads:
            return None
        node = plan.nodes[readers[0]]
        if node.kind == "conv":
            return node
    return None


def _scale(weight: Tensor, bias: Tensor, next_weight: Tensor) -> Tensor:
    """What the outputs of the first convolution are divided by, (O,)."""
    own = _ranges(weight.numpy().reshape(len(weight), -1), bias.numpy())
    following = np.abs(next_weight.numpy()).max(axis=(0, 2, 3))
    root = np.sqrt(own * following)
    scale = np.divide(own, root, out=np.ones_like(own), where=root != 0)
    return torch.from_numpy(np.where(own + following < 0.5, np.float32(1), scale))


def _ranges(weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The size of each output channel (O,) of the first convolution: its largest weight, or its bias reduced.

    How much the bias is reduced follows from all |bias| / |weight| of the layer, by nndct's constants. A weight of
    zero counts as the channel's smallest other one, and a channel of zeros has no bias there.
    """
    size, bias = np.abs(weight), np.abs(bias)
    dead = ~size.any(axis=1)
    smallest = np.where(size == 0, np.float32(np.inf), size).min(axis=1, keepdims=True)
    divisor = np.maximum(np.where(size == 0, np.where(dead[:, None], np.float32(0), smallest), size), np.float32(1e-7))
    effective = np.where(dead, np.float32(0), bias)
    ratio = effective[:, None] / divisor
    median, mean = float(np.median(ratio)), float(ratio.mean())
    if bias.max() < 10 and bias.max() / divisor.max() < 20:
        shrink = 5 if median > 100 or mean > 1000 else 2
    elif median > 30 or mean > 500:
        shrink = 20
    else:
        shrink = 10 if median > 15 or mean > 100 else 5
    ranges: np.ndarray = np.maximum(size.max(axis=1), effective / np.float32(shrink))
    return ranges
