"""How much of what is read a channel explains: importance over pictures, without labels and without sparse training.

A convolution reads its input channels times its weights for them. A channel that is kept explains itself, and of every
other one as much as varies with it. So channels are chosen one after another, always the one that explains most of what
those before it left unexplained, and each is worth that much: twins do not both count, as they would by |gamma|. What
every reader reads counts as 1, summed over the readers of a channel and shared by gamma^2 between convolutions that
shortcuts add.

Sources: Farahat, Ghodsi & Kamel, An efficient greedy method for unsupervised feature selection, ICDM 2011 (the choice);
Luo, Wu & Lin, ThiNet, arXiv:1707.06342 (channels chosen by what the next layer reads).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from compress.darknet.cfg import INPUT, layer_sources
from compress.darknet.network import DarknetNetwork
from compress.pruning.groups import ChannelGroup, channel_groups
from compress.pruning.importance import gammas
from compress.pruning.moments import Moments, moments_of_inputs
from compress.pruning.summands import Summand, layer_summands

_LEAST_VARIANCE = 1e-10  # of what is read; a channel with less left unexplained is a sum of others
_LESS = 1 - 1e-9  # than the one chosen before


def explained_importance(network: DarknetNetwork, batches: Iterable[Tensor]) -> dict[int, np.ndarray]:
    """Of every convolution with batch normalisation its channels' importance, float64 (C,).

    Args:
        network: is in evaluation mode afterwards.
        batches: pictures, float32 (N, 3, H, W) in 0..1.
    """
    groups, sources = channel_groups(network.cfg), layer_sources(network.cfg)
    squares = {conv: _squares(network, conv, group) for group in groups for conv in group.members}
    sizes = {group: torch.stack([squares[conv] for conv in group.members]).sum(0) for group in groups}
    summands = layer_summands(network.cfg, groups)
    read = {group: torch.zeros(group.units, group.units, dtype=torch.float64) for group in groups}
    readers = [conv for conv in squares if sources[conv][0] != INPUT and network.convolution(conv).conv.groups == 1]
    for conv, moments in moments_of_inputs(network, readers, batches).items():
        covariance, summed = _as_read(network, conv, moments), summands[sources[conv][0]]
        total = torch.zeros(len(covariance), dtype=torch.float64)
        for summand in summed:
            total[summand.places] += sizes[summand.group][summand.channels]
        for summand in summed:
            part = _share(sizes[summand.group][summand.channels], total[summand.places]).sqrt()
            _add(read[summand.group], summand, covariance[summand.places, summand.places] * part.outer(part))
    importance: dict[int, np.ndarray] = {}
    for group in groups:
        gains = torch.from_numpy(_gains(read[group])).tile(group.parts) / group.parts
        for conv in group.members:
            if network.convolution(conv).bn is not None:
                importance[conv] = (gains * _share(squares[conv], sizes[group])).numpy()
    return importance


def _squares(network: DarknetNetwork, conv: int, group: ChannelGroup) -> Tensor:
    """How much the channels of a convolution vary beside those that they are added to, float64 (C,): gamma^2."""
    if network.convolution(conv).bn is None:
        return torch.ones(group.channels, dtype=torch.float64)
    return torch.from_numpy(gammas(network, conv)).square()


def _share(one: Tensor, total: Tensor) -> Tensor:
    return one / total.clamp(min=torch.finfo(torch.float64).tiny)


@torch.no_grad()
def _as_read(network: DarknetNetwork, conv: int, moments: Moments) -> Tensor:
    """Covariance of what a convolution reads, times its weights' norms, float64 (C, C), of trace 1, or 0."""
    norms = network.convolution(conv).conv.weight.detach().double().cpu().pow(2).sum((0, 2, 3)).sqrt()
    covariance = moments.covariance * norms.outer(norms)
    trace = covariance.trace()
    return covariance / trace if trace > 0 else covariance


def _add(read: Tensor, summand: Summand, covariance: Tensor) -> None:
    """Add to a group's (units, units) what is read of some of its channels; a unit's parts count each for itself."""
    units = summand.group.units
    channel = torch.arange(summand.group.channels)[summand.channels]
    unit, part = channel % units, channel // units
    read.index_put_((unit[:, None], unit[None]), covariance * (part[:, None] == part), accumulate=True)


def _gains(covariance: Tensor) -> np.ndarray:
    """What each unit explains when it is chosen, float64 (units,), from a covariance (units, units).

    Beside an earlier unit a later one may explain more than that did alone. It counts less all the same, so that
    importance falls in the order of the choice.
    """
    left = covariance.clone()
    gains, least = np.zeros(len(left)), _LEAST_VARIANCE * float(left.trace())
    before = np.inf
    while True:
        variance = left.diagonal()
        explained = torch.where(variance > least, left.square().sum(0) / variance.clamp(min=least), 0.0)
        chosen = int(explained.argmax())
        if explained[chosen] == 0:
            return gains
        before = gains[chosen] = min(before * _LESS, float(explained[chosen]))
        column = left[:, chosen] / variance[chosen].sqrt()
        left -= column.outer(column)
        left[chosen] = left[:, chosen] = 0.0  # not to a last bit
