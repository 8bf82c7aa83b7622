"""Which blocks and channels go: the weakest by their BN scales, over the whole network.

Sources: Liu et al., network slimming, arXiv:1708.06519 (one global threshold on |gamma|); Fang et al., DepGraph,
arXiv:2301.12900 (mean over the layers of a group). Ranks decide, not a threshold's value, so ties and exact zeros
cut neither more nor less than was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from board_app.core.errors import InputError
from compress.darknet.cfg import Cfg
from compress.darknet.cost import gmacs, parameter_count
from compress.darknet.network import DarknetNetwork
from compress.pruning.blocks import Block, removable_blocks, with_widths, without_layers
from compress.pruning.groups import ChannelGroup, channel_groups
from compress.pruning.options import PruneOptions, Selection


def select(network: DarknetNetwork, options: PruneOptions) -> Selection:
    """The blocks and channels to cut; the network is not changed.

    Blocks are chosen first, by whole channels; then channels, over what is left.

    Raises:
        InputError: there are fewer removable blocks than asked for, or the target is out of reach.
    """
    blocks = weakest_blocks(network, options.blocks)
    ranking = _Ranking(network, blocks, options)
    if options.has_target:
        return ranking.selection(_least_cut(network.cfg, ranking, options))
    return ranking.selection(ranking.count_for_share(options.channels))


def weakest_blocks(network: DarknetNetwork, count: int) -> tuple[Block, ...]:
    """The `count` blocks of least mean |gamma| before the shortcut, in cfg order."""
    blocks = removable_blocks(network.cfg)
    if count > len(blocks):
        raise InputError(
            f"{network.cfg.name}: expected at least {count} residual blocks (a shortcut around a 1x1 and a 3x3 "
            f"convolution), found {len(blocks)}. Ask for at most {len(blocks)} blocks."
        )
    scores = [float(_gamma(network, block.second_conv).mean()) for block in blocks]
    weakest = np.argsort(scores, kind="stable")[:count]
    return tuple(blocks[position] for position in sorted(weakest))


def selected_cfg(cfg: Cfg, selection: Selection) -> tuple[Cfg, tuple[int, ...]]:
    """The cfg of what stays, and for each of its layers the index it had before."""
    return without_layers(with_widths(cfg, selection.widths), selection.removed_blocks)


class _Ranking:
    """All channels that may go, weakest first; a channel of a group is one entry."""

    def __init__(self, network: DarknetNetwork, blocks: Sequence[Block], options: PruneOptions) -> None:
        self._blocks, self._options = tuple(blocks), options
        gone = {conv for block in blocks for conv in (block.first_conv, block.second_conv)}
        self._gone = gone
        self._groups = channel_groups(network.cfg)
        self._by_strength: dict[int, np.ndarray] = {}  # channels of prunable groups, strongest first
        columns: list[tuple[np.ndarray, ...]] = []
        self.total = 0
        for position, group in enumerate(self._groups):
            members = [conv for conv in group.members if conv not in gone]
            if not group.prunable or not members:
                continue
            scale = np.mean([_gamma(network, conv) for conv in members], axis=0)
            shift = np.mean([_absolute(network.batch_norm(conv).bias) for conv in members], axis=0)
            strongest = np.lexsort((-np.arange(group.channels), shift, scale))[::-1]
            self._by_strength[position] = strongest
            self.total += len(members) * group.channels
            free = strongest[self._floor(group) :]
            columns.append((scale[free], shift[free], np.full(len(free), position), np.full(len(free), len(members))))
        merged = [np.concatenate(column) for column in zip(*columns, strict=True)] if columns else [np.zeros(0)] * 4
        order = np.lexsort((merged[1], merged[0]))
        self._group_of, self._members_of = merged[2][order].astype(int), merged[3][order]
        self.count = len(order)

    def count_for_share(self, share: float) -> int:
        """How many entries bring the removed channels to the share of all, or as near as the floors allow."""
        reached = np.cumsum(self._members_of)
        wanted = share * self.total - 1e-6
        return 0 if wanted <= 0 else min(int(np.searchsorted(reached, wanted)) + 1, self.count)

    def selection(self, count: int) -> Selection:
        """The choice when the `count` weakest go."""
        removed = np.bincount(self._group_of[:count], minlength=len(self._groups))
        kept: dict[int, np.ndarray] = {}
        for position, group in enumerate(self._groups):
            mask = np.ones(group.channels, bool)
            if position in self._by_strength:
                width = self._rounded(group.channels - int(removed[position]), group.channels)
                mask[self._by_strength[position][width:]] = False
            for conv in group.members:
                kept[conv] = np.zeros(group.channels, bool) if conv in self._gone else mask
        return Selection(self._blocks, kept)

    def _floor(self, group: ChannelGroup) -> int:
        least = max(self._options.min_channels, math.ceil(self._options.min_share * group.channels - 1e-9))
        return min(least, group.channels)

    def _rounded(self, width: int, channels: int) -> int:
        multiple = self._options.width_multiple
        return min(max(multiple, math.floor(width / multiple + 0.5) * multiple), channels)


def _least_cut(cfg: Cfg, ranking: _Ranking, options: PruneOptions) -> int:
    """The fewest entries that reach every target, by bisection: cost never grows with what is cut."""

    def cost(count: int) -> tuple[int, float]:
        cut, _ = selected_cfg(cfg, ranking.selection(count))
        return parameter_count(cut), gmacs(cut)

    def reached(count: int) -> bool:
        params, macs = cost(count)
        return params <= (options.target_params or params) and macs <= (options.target_gmacs or macs)

    if not reached(ranking.count):
        params, macs = cost(ranking.count)
        raise InputError(
            f"{cfg.name}: expected to reach {options.target_params or 'any number of'} parameters and "
            f"{options.target_gmacs or 'any number of'} GMACs, found at least {params} and {macs:.4f} when only the "
            "smallest widths are kept. Remove more blocks, lower the smallest share, or raise the target."
        )
    low, high = 0, ranking.count
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    return low


def _gamma(network: DarknetNetwork, conv: int) -> np.ndarray:
    return _absolute(network.batch_norm(conv).weight)


def _absolute(values: Tensor) -> np.ndarray:
    magnitudes: np.ndarray = values.detach().abs().double().cpu().numpy()
    return magnitudes
