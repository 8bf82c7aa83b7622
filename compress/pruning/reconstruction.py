"""What goes is told by what stays: before the cut, each reader of removed channels learns to do without them.

Channels of a trained network are correlated, so where a convolution reads it a removed channel is nearly a sum of the
kept ones and a constant. That sum, the best in least squares over some pictures, goes into the convolution's weights
and its running mean, tap by tap. A channel that does not vary is told by its constant alone, and folding
(compress.pruning.surgery) is that case. Unlike a constant, the rest of the sum holds at zero-padded borders too.

Source: He, Zhang & Sun, Channel pruning for accelerating very deep neural networks, arXiv:1707.06168 (least squares
over feature maps; theirs solves for all taps of a layer, one layer after another, ours for the maps, all at once).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

from compress.darknet.network import ConvolutionLayer, DarknetNetwork
from compress.pruning.moments import Moments, moments_of_inputs
from compress.pruning.options import Selection
from compress.pruning.selection import kept_inputs
from compress.pruning.surgery import give

_RIDGE = 1e-5  # of each kept channel's variance: of channels that say the same, all get a part
_LEAST_RIDGE = 1e-12  # of the mean variance, for kept channels that do not vary


@torch.no_grad()
def reconstructed(network: DarknetNetwork, selection: Selection, batches: Iterable[Tensor]) -> DarknetNetwork:
    """A full-size copy in evaluation mode that no longer reads what was not selected.

    Args:
        network: is not changed, but is in evaluation mode afterwards.
        batches: pictures, float32 (N, 3, H, W) in 0..1.
    """
    losing = {conv: kept for conv, kept in kept_inputs(network.cfg, selection).items() if not kept.all()}
    moments = moments_of_inputs(network, losing, batches)
    copied = copy.deepcopy(network)
    for conv, of_input in moments.items():
        _do_without(copied.convolution(conv), torch.from_numpy(~losing[conv]), of_input)
    return copied


def _do_without(layer: ConvolutionLayer, gone: Tensor, moments: Moments) -> None:
    """Put what the channels that go, bool (C,), gave to the layer into what it makes of the others; in place."""
    covariance, mean = moments.covariance, moments.mean
    among_kept = covariance[~gone][:, ~gone]
    variance = among_kept.diagonal()
    ridge = _RIDGE * variance + _LEAST_RIDGE * variance.mean() + torch.finfo(torch.float32).tiny
    told = torch.linalg.solve(among_kept + ridge.diag(), covariance[~gone][:, gone])  # (kept, gone)
    constants = torch.zeros_like(mean)
    constants[gone] = mean[gone] - mean[~gone] @ told
    give(layer, constants)
    weight = layer.conv.weight
    of_gone = weight[:, gone].double()
    weight[:, ~gone] += torch.einsum("oghw,kg->okhw", of_gone, told.to(of_gone.device)).to(weight.dtype)
    weight[:, gone] = 0.0
