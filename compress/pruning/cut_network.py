"""A network on its way to a smaller one: its widths, the blocks that are gone, the importance left, what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from compress.darknet.network import DarknetNetwork
from compress.pruning.blocks import Block, removable_blocks
from compress.pruning.costs import Costs, costed_layers
from compress.pruning.groups import channel_groups
from compress.pruning.importance import betas, channel_importance, strongest_first, unit_sums, worth
from compress.pruning.options import Selection

_NOTHING = Costs(0, 0, 0.0)


class CutNetwork:
    """Starts as the whole network; of a group cut to some units the most important ones are kept.

    Args:
        network: is not changed.
        board: whose DPU the time is predicted for.
        importance: of every convolution with batch normalisation its channels', float64 (C,); None: by their scales
            (compress.pruning.importance).
    Attributes:
        groups: in the order of `channel_groups`; a `group` below is a position in it.
        units: how many of every group are kept.
        worth: for every group what its strongest 0, 1, 2 ... units are worth (compress.pruning.importance.worth).
        alive: how many units of every group have an importance.
        layers: all that cost something, at any width, and
        channels: their input and output channels now; a `layer` below is a position in these.
        blocks: that can be removed from the whole network, and
        block_layers: their layers.
        readers: for every prunable group the layers that are there and cost by its width, each with the input and
            output channels that a unit gives it.
    """

    def __init__(self, network: DarknetNetwork, board: str, importance: Mapping[int, np.ndarray] | None = None) -> None:
        self.groups = channel_groups(network.cfg)
        self.units = [group.units for group in self.groups]
        self.blocks = removable_blocks(network.cfg)
        self._group_of = {conv: position for position, group in enumerate(self.groups) for conv in group.members}
        prunable = {conv for group in self.groups if group.prunable for conv in group.members}
        counted = prunable | {block.second_conv for block in self.blocks}
        self._importance = channel_importance(network, counted) if importance is None else importance
        self._shifts = {conv: betas(network, conv) for conv in prunable}
        self._removed: set[Block] = set()
        self._gone: set[int] = set()  # convolutions of removed blocks

        self.layers = costed_layers(network.cfg, self.groups, board)
        self.channels = [layer.full for layer in self.layers]
        self._costs = [layer.table[layer.full] for layer in self.layers]
        by_section = {layer.section: position for position, layer in enumerate(self.layers)}
        self.block_layers = {block: tuple(by_section[section] for section in block.layers) for block in self.blocks}
        self.readers: list[dict[int, tuple[int, int]]] = [{} for _ in self.groups]
        for index, layer in enumerate(self.layers):
            for group, per_unit in layer.per_unit.items():
                self.readers[group][index] = per_unit

        self._order: list[np.ndarray] = [np.arange(units) for units in self.units]
        self.worth: list[list[float]] = [[0.0] * (units + 1) for units in self.units]
        self.alive = list(self.units)
        self._full = [0.0] * len(self.groups)  # a group's importance if all its units were like those alive
        self._rank(range(len(self.groups)))

    @property
    def costs(self) -> Costs:
        """Of the network as it is now, to the last bit what its cfg would cost."""
        return _total(self._costs)

    def costs_at(self, units: Sequence[int], blocks: Iterable[Block]) -> Costs:
        """What the network would cost with groups that wide and these blocks gone too."""
        gone = {layer for block in self._removed.union(blocks) for layer in self.block_layers[block]}
        costs = []
        for index, layer in enumerate(self.layers):
            if index not in gone:
                inputs, outputs = layer.full
                for group, (per_input, per_output) in layer.per_unit.items():
                    fewer = self.groups[group].units - units[group]
                    inputs, outputs = inputs - per_input * fewer, outputs - per_output * fewer
                costs.append(layer.table[inputs, outputs])
        return _total(costs)

    def set_units(self, group: int, units: int) -> None:
        """Make a group as wide as that."""
        more = units - self.units[group]
        self.units[group] = units
        for layer, (inputs, outputs) in self.readers[group].items():
            before = self.channels[layer]
            self.channels[layer] = after = before[0] + inputs * more, before[1] + outputs * more
            self._costs[layer] = self.layers[layer].table[after]

    def remove(self, block: Block) -> None:
        """Leave a block out; its second convolution no longer counts in its group."""
        self._removed.add(block)
        self._gone.update((block.first_conv, block.second_conv))
        for layer in self.block_layers[block]:
            self._costs[layer] = _NOTHING
            for group in self.layers[layer].per_unit:
                del self.readers[group][layer]
        self._rank((self._group_of[block.second_conv],))

    def is_removed(self, block: Block) -> bool:
        """Whether it is left out."""
        return block in self._removed

    def lost_with(self, block: Block) -> float:
        """How much less its group is worth without the block's second convolution."""
        group = self._group_of[block.second_conv]
        kept = self._order[group][: self.units[group]]
        own = self._unit_importance(group, [block.second_conv])[kept].sum()
        if not self.groups[group].prunable:  # never narrower, and others may have no importance
            return float(own)
        others = [conv for conv in self._members(group) if conv != block.second_conv]
        rest = self._unit_importance(group, others)[kept].sum()
        now, without = worth(np.array([rest + own, rest]), self._full[group])
        return float(now - without)

    def selection(self) -> Selection:
        """What is kept now."""
        kept: dict[int, np.ndarray] = {}
        for group, tied in enumerate(self.groups):
            units = np.zeros(tied.units, bool)
            units[self._order[group][: self.units[group]]] = True
            for conv in tied.members:
                kept[conv] = np.tile(units, tied.parts) & (conv not in self._gone)
        return Selection(tuple(sorted(self._removed, key=lambda block: block.shortcut)), kept)

    def _rank(self, groups: Iterable[int]) -> None:
        for group in groups:
            tied = self.groups[group]
            if tied.prunable:
                members = self._members(group)
                importance = self._unit_importance(group, members)
                order = strongest_first(importance, unit_sums(tied, [self._shifts[conv] for conv in members]))
                self._order[group], self.alive[group] = order, int(np.count_nonzero(importance))
                self._full[group] = float(importance.sum()) * tied.units / max(self.alive[group], 1)
                self.worth[group] = worth(np.cumsum([0.0, *importance[order]]), self._full[group]).tolist()

    def _members(self, group: int) -> list[int]:
        return [conv for conv in self.groups[group].members if conv not in self._gone]

    def _unit_importance(self, group: int, convs: Iterable[int]) -> np.ndarray:
        return unit_sums(self.groups[group], [self._importance[conv] for conv in convs])


def _total(costs: Sequence[Costs]) -> Costs:
    """Summed up in order, as `dpu.latency.predict` does."""
    return Costs(sum(cost.params for cost in costs), sum(cost.macs for cost in costs), sum(cost.ms for cost in costs))
