"""How much of what is read a channel explains: importance over pictures, without labels and without sparse training.

A convolution reads its input channels times its weights for them. A channel that is kept explains itself, and of every
other one as much as varies with it. So channels are chosen one after another, always the one that explains most of what
those before it left unexplained, and each is worth that much: twins do not both count, as they would by |gamma|. What
every reader reads counts as 1, summed over the readers of a channel and shared between convolutions that shortcuts
tie by gamma^2.

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
from compress.pruning.groups import ChannelGroup, Segments, channel_groups, layer_channels
from compress.pruning.importance import gammas
from compress.pruning.moments import Moments, moments_of_inputs

_LEAST_VARIANCE = 1e-10  # of what is read; a channel with less left unexplained is a sum of others
_ONE_BY_ONE = 1 - 1e-9  # so that importance falls in the order of the choice


def explained_importance(network: DarknetNetwork, batches: Iterable[Tensor]) -> dict[int, np.ndarray]:
    """Of every convolution with batch normalisation its channels' importance, float64 (C,).

    Args:
        network: is in evaluation mode afterwards.
        batches: pictures, float32 (N, 3, H, W) in 0..1.
    """
    groups, channels, sources = channel_groups(network.cfg), layer_channels(network.cfg), layer_sources(network.cfg)
    group_of = {conv: group for group in groups for conv in group.members}
    read = {group.name: torch.zeros(group.units, group.units, dtype=torch.float64) for group in groups}
    readers = [conv for conv in group_of if sources[conv][0] != INPUT and network.convolution(conv).conv.groups == 1]
    for conv, moments in moments_of_inputs(network, readers, batches).items():
        _add(read, group_of, channels[sources[conv][0]], _as_read(network, conv, moments))
    importance: dict[int, np.ndarray] = {}
    for group in groups:
        normalised = [conv for conv in group.members if network.convolution(conv).bn is not None]
        squares = {conv: gammas(network, conv) ** 2 for conv in normalised}
        total = sum(squares.values(), np.zeros(group.channels))
        gains = np.tile(_gains(read[group.name]) / group.parts, group.parts)
        for conv, square in squares.items():
            share = np.divide(square, total, out=np.full(group.channels, 1 / len(normalised)), where=total > 0)
            importance[conv] = gains * share
    return importance


@torch.no_grad()
def _as_read(network: DarknetNetwork, conv: int, moments: Moments) -> Tensor:
    """Covariance of what a convolution reads, times its weights' norms, float64 (C, C), of trace 1, or 0."""
    norms = network.convolution(conv).conv.weight.detach().double().cpu().pow(2).sum((0, 2, 3)).sqrt()
    covariance = moments.covariance * norms.outer(norms)
    trace = covariance.trace()
    return covariance / trace if trace > 0 else covariance


def _add(read: dict[str, Tensor], group_of: dict[int, ChannelGroup], segments: Segments, covariance: Tensor) -> None:
    """Add to every group what is read of it; a unit's parts count each for itself."""
    at = 0
    for segment in segments:
        size = segment.stop - segment.start
        if segment.conv != INPUT:
            group = group_of[segment.conv]
            channel = torch.arange(segment.start, segment.stop)
            unit, part = channel % group.units, channel // group.units
            own = covariance[at : at + size, at : at + size] * (part[:, None] == part)
            read[group.name].index_put_((unit[:, None], unit[None]), own, accumulate=True)
        at += size


def _gains(covariance: Tensor) -> np.ndarray:
    """What each unit explains when it is chosen, float64 (units,), from a covariance (units, units).

    A unit may explain more beside an earlier one than that did: it counts less still, as it is worth nothing alone.
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
        before = gains[chosen] = min(before * _ONE_BY_ONE, float(explained[chosen]))
        column = left[:, chosen] / variance[chosen].sqrt()
        left -= column.outer(column)
        left[chosen] = left[:, chosen] = 0.0  # not to a last bit
