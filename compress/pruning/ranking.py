"""A share of the channels, the weakest of the whole network first: one rank over all groups.

A channel of a group counts the mean |gamma| of its members, which is importance for each member channel saved. Where
widths are multiples, a group goes in steps of so many channels, each as strong as its strongest one. Ranks decide, not
a threshold's value, so ties and exact zeros cut neither more nor less than was asked for.

Sources: Liu et al., network slimming, arXiv:1708.06519 (one global rank of |gamma|); Fang et al., DepGraph,
arXiv:2301.12900 (mean over the layers of a group).
"""

from __future__ import annotations

import numpy as np

from compress.darknet.network import DarknetNetwork
from compress.pruning.groups import ChannelGroup, channel_groups
from compress.pruning.importance import betas, gammas, strongest_first, unit_sums, weakest_blocks
from compress.pruning.options import PruneOptions, Selection


def rank(network: DarknetNetwork, options: PruneOptions) -> Selection:
    """The blocks, then the share of the channels in what is left; the network is not changed.

    Raises:
        InputError: there are fewer blocks than asked for.
    """
    blocks = weakest_blocks(network, options.block_count or 0)
    gone = {conv for block in blocks for conv in (block.first_conv, block.second_conv)}
    groups = channel_groups(network.cfg)
    strongest: dict[int, np.ndarray] = {}  # by position of a prunable group, its units
    columns: list[tuple[np.ndarray, ...]] = []  # of steps that may go: scale, shift, group, units, channels in all
    total = 0
    for position, group in enumerate(groups):
        members = [conv for conv in group.members if conv not in gone]
        if not group.prunable or not members:
            continue
        tied = len(members) * group.parts
        scale = unit_sums(group, [gammas(network, conv) for conv in members]) / tied
        shift = unit_sums(group, [betas(network, conv) for conv in members]) / tied
        strongest[position] = strongest_first(scale, shift)
        total += tied * group.units
        widths = _widths(group, options)
        best, units = strongest[position][widths[:-1]], np.diff(widths)
        step = scale[best], shift[best], np.full(len(best), position), units, tied * units
        columns.append(tuple(values[::-1] for values in step))  # of equal steps the outermost first
    scales, shifts, group_of, units_of, channels_of = (
        [np.concatenate(column) for column in zip(*columns, strict=True)] if columns else [np.zeros(0, int)] * 5
    )
    order = np.lexsort((shifts, scales))
    goes = order[: _fewest(channels_of[order], options.channels * total)]
    removed = np.zeros(len(groups), int)
    np.add.at(removed, group_of[goes], units_of[goes])
    kept: dict[int, np.ndarray] = {}
    for position, group in enumerate(groups):
        units = np.ones(group.units, bool)
        if position in strongest:
            units[strongest[position][group.units - removed[position] :]] = False
        for conv in group.members:
            kept[conv] = np.tile(units, group.parts) & (conv not in gone)
    return Selection(blocks, kept)


def _widths(group: ChannelGroup, options: PruneOptions) -> np.ndarray:
    """What the group may be cut to, in units, ascending, its whole width last."""
    narrower = np.arange(options.least_units(group), group.units, options.unit_step(group))
    return np.append(narrower, group.units)


def _fewest(channels: np.ndarray, wanted: float) -> int:
    """How many entries bring so many channels, or as near as there are entries."""
    wanted -= 1e-6
    return 0 if wanted <= 0 else min(int(np.searchsorted(np.cumsum(channels), wanted)) + 1, len(channels))
