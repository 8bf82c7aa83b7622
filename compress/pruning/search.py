"""Which channels and blocks go so that a network costs no more than its targets and loses as little as it can.

Greedy from the whole network: of all moves (a group to a smaller width, a block out) the one that loses the least worth
(compress.pruning.importance) for what it saves is made, until every target holds; then the room that is left is given
back to what is worth most for its cost. Costs are counted in shares of the whole network's; which of them count,
compress.pruning.targets says. Time falls in steps, as channels fill the DPU's lanes, so a move may also
go down at once to the next width that fills them.

Sources: Shen et al., HALP, arXiv:2110.10811 and arXiv:2210.06659 (importance for time as a knapsack over groups);
Yang et al., NetAdapt, arXiv:1804.03230 (steps towards a target in measured costs).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from board_app.core.errors import InputError
from compress.darknet.network import DarknetNetwork
from compress.pruning.blocks import Block
from compress.pruning.costs import Costs
from compress.pruning.cut_network import CutNetwork
from compress.pruning.importance import weakest_blocks
from compress.pruning.options import PruneOptions, Selection
from compress.pruning.targets import Priced, Prices, Targets
from dpu.layer_cost import ALIGNMENT

MET_WITHIN = 0.02  # the tightest target is not passed by more than this share of it
_LEVELS = 128  # about so many widths of a group are tried
_LEAST_COST = 1e-15  # in shares; what saves less comes last, unless it loses nothing


def search(
    network: DarknetNetwork, options: PruneOptions, importance: Mapping[int, np.ndarray] | None = None
) -> Selection:
    """The choice that meets all targets of the options, the tightest to 2 %; the network is not changed.

    Args:
        network: in evaluation mode.
        options: what is asked for.
        importance: as CutNetwork takes it.

    Raises:
        InputError: a target is out of reach, or there are fewer blocks than asked for.
    """
    cut = CutNetwork(network, options.board, importance)
    targets = Targets(options, cut.costs)
    free = list(cut.blocks)
    if options.block_count is not None:
        free = []
        for block in weakest_blocks(network, options.block_count, importance):
            cut.remove(block)
    moves = _Moves(cut, targets, free, options)
    if not targets.hold(least := cut.costs_at(moves.floors, free)):
        raise _out_of_reach(network.cfg.name, options, least, len(cut.blocks))
    if options.prefer == "accuracy" and not targets.hold(cut.costs):
        moves.drop_dead_blocks()  # where time does not count, a target may be reached before they go
    moves.cut_down()
    moves.give_back()
    return cut.selection()


class _Move(NamedTuple):
    """The least is the best one: it loses little worth for what it saves; of those that lose nothing it saves most."""

    ratio: float  # worth lost for a share saved
    saved: float  # negative
    position: int  # a group's, or that of a block after all groups
    units: int  # of the group after the move; of a block 0


_NO_MOVE = _Move(math.inf, 0.0, -1, 0)


class _Moves:
    """What can be done to a network on its way to its targets."""

    def __init__(self, cut: CutNetwork, targets: Targets, free: list[Block], options: PruneOptions) -> None:
        self._cut, self._targets, self._free = cut, targets, free
        self._steps = [options.unit_step(group) for group in cut.groups]
        self._lanes = [  # in units: the widths that fill lanes, among the multiples
            math.lcm(step, ALIGNMENT // math.gcd(ALIGNMENT, group.parts))
            for group, step in zip(cut.groups, self._steps, strict=True)
        ]
        self.floors = [options.least_units(group) if group.prunable else group.units for group in cut.groups]
        self._touched: list[set[int]] = [{position} for position in range(len(cut.groups))]
        for layer in cut.layers:
            for read in layer.per_unit:
                self._touched[read].update(layer.per_unit)

    def drop_dead_blocks(self) -> None:
        """Take out the blocks that add nothing: they cost time for nothing."""
        for block in self._free:
            if self._cut.lost_with(block) == 0:
                self._cut.remove(block)

    def cut_down(self) -> None:
        """Make the best move again and again until all targets hold."""
        costs, prices = self._cut.costs, None
        best: list[_Move] = []
        while not self._targets.hold(costs):
            if prices != (prices := self._targets.prices(self._targets.missed(costs))):
                self._price(prices)
                best = [self._best_cut(position) for position in range(len(self._cut.groups) + len(self._free))]
            move = min(best)
            assert move is not _NO_MOVE  # the smallest widths reach the targets
            if self._passes_by_far(costs, move):
                careful = min(self._best_cut(position, costs) for position in range(len(best)))
                move = move if careful is _NO_MOVE else careful
            for position in self._make(move):
                best[position] = self._best_cut(position)
            costs = self._cut.costs

    def give_back(self) -> None:
        """Widen groups while all targets hold; for nothing in return only if a target would be passed by far."""
        self._price(self._targets.prices(self._targets.given))
        open_groups = [group for group, readers in enumerate(self._cut.readers) if readers]
        while True:
            costs = self._cut.costs
            move = min((self._best_return(group, costs) for group in open_groups), default=_NO_MOVE)
            worth = move.ratio < 0 or self._targets.fullness(costs) < 1 - MET_WITHIN
            if move is _NO_MOVE or not worth:
                return
            before = self._cut.units[move.position]
            self._make(move)
            if not self._targets.hold(self._cut.costs):  # by a last bit, which sums of differences do not have
                self._cut.set_units(move.position, before)
                open_groups.remove(move.position)

    def _price(self, prices: Prices) -> None:
        tables = {id(layer.table): Priced(layer.table, prices) for layer in self._cut.layers}
        self._priced = [tables[id(layer.table)] for layer in self._cut.layers]

    def _make(self, move: _Move) -> Iterable[int]:
        """Change the network; gives the positions whose moves are others now."""
        groups = len(self._cut.groups)
        if move.position < groups:
            self._cut.set_units(move.position, move.units)
            changed = self._touched[move.position]
        else:
            block = self._free[move.position - groups]
            self._cut.remove(block)
            changed = self._groups_of(block)
            changed = changed.union(*(self._touched[group] for group in changed))
        beside = (groups + at for at, block in enumerate(self._free) if not changed.isdisjoint(self._groups_of(block)))
        return {*changed, *beside}

    def _groups_of(self, block: Block) -> set[int]:
        return {group for layer in self._cut.block_layers[block] for group in self._cut.layers[layer].per_unit}

    def _best_cut(self, position: int, costs: Costs | None = None) -> _Move:
        """A position's best move; with the `costs` now, of those that do not pass the targets by far."""
        groups = len(self._cut.groups)
        moves = self._block_cuts(position) if position >= groups else self._cuts(position)
        return min((move for move in moves if costs is None or not self._passes_by_far(costs, move)), default=_NO_MOVE)

    def _block_cuts(self, position: int) -> Iterator[_Move]:
        block = self._free[position - len(self._cut.groups)]
        if not self._cut.is_removed(block):
            saved = sum(self._priced[layer][self._cut.channels[layer]] for layer in self._cut.block_layers[block])
            yield _Move(self._cut.lost_with(block) / max(saved, _LEAST_COST), -saved, position, 0)

    def _cuts(self, group: int) -> Iterator[_Move]:
        cut = self._cut
        now, floor, lanes = cut.units[group], self.floors[group], self._lanes[group]
        if now == floor or not cut.readers[group]:
            return
        multiple = self._steps[group]
        step = multiple * max(1, cut.groups[group].units // (_LEVELS * multiple))
        alive = -(-cut.alive[group] // multiple) * multiple
        widths = ((now - 1) // step * step, (now - 1) // lanes * lanes, alive)
        for units in {max(width, floor) for width in widths if width < now}:
            lost = cut.worth[group][now] - cut.worth[group][units]
            saved = -self._price_change(group, units - now)
            yield _Move(lost / max(saved, _LEAST_COST), -saved, group, units)

    def _best_return(self, group: int, costs: Costs) -> _Move:
        cut = self._cut
        now, units, step, lanes = cut.units[group], cut.groups[group].units, self._steps[group], self._lanes[group]
        best = _NO_MOVE
        full = -(-(now + 1) // lanes) * lanes
        for wider in {min(wider, units) for wider in (-(-(now + 1) // step) * step, full)} - {now}:
            gain, cost = cut.worth[group][wider] - cut.worth[group][now], self._price_change(group, wider - now)
            move = _Move(-gain / max(cost, _LEAST_COST), cost, group, wider)
            if move < best and self._targets.hold(self._after(costs, move)):
                best = move
        return best

    def _price_change(self, group: int, more: int) -> float:
        change = 0.0
        for layer, (inputs, outputs) in self._cut.readers[group].items():
            priced, (now_in, now_out) = self._priced[layer], self._cut.channels[layer]
            change += priced[now_in + inputs * more, now_out + outputs * more] - priced[now_in, now_out]
        return change

    def _passes_by_far(self, costs: Costs, move: _Move) -> bool:
        return self._targets.fullness(self._after(costs, move)) < 1 - MET_WITHIN

    def _after(self, costs: Costs, move: _Move) -> Costs:
        cut, groups = self._cut, len(self._cut.groups)
        if move.position >= groups:
            block = self._free[move.position - groups]
            change = [_negative(cut.layers[layer].table[cut.channels[layer]]) for layer in cut.block_layers[block]]
        else:
            more = move.units - cut.units[move.position]
            change = []
            for layer, (inputs, outputs) in cut.readers[move.position].items():
                table, (now_in, now_out) = cut.layers[layer].table, cut.channels[layer]
                change += [table[now_in + inputs * more, now_out + outputs * more], _negative(table[now_in, now_out])]
        params, macs, ms = (sum(parts) for parts in zip(costs, *change, strict=True))
        return Costs(params, macs, ms)


def _negative(costs: Costs) -> Costs:
    return Costs(-costs.params, -costs.macs, -costs.ms)


def _out_of_reach(name: str, options: PruneOptions, least: Costs, blocks: int) -> InputError:
    wanted = {"parameters": options.target_params, "GMACs": options.target_gmacs, "ms": options.target_ms}
    asked = " and ".join(f"{limit:,} {unit}" for unit, limit in wanted.items() if limit is not None)
    gone = blocks if options.block_count is None else options.block_count
    all_gone = f"{'all ' if gone == blocks else ''}{gone} blocks gone and " if gone else ""
    limited = options.min_channels > 1 or options.min_share > 0 or options.multiple > 1
    remedies = [
        "Raise the target",
        *(["or remove more blocks"] if gone < blocks else []),
        *(["or lower one of these limits"] if limited else []),
    ]
    return InputError(
        f"{name}: expected to reach {asked}, found nothing nearer than {least.params:,} parameters, {least.gmacs:.6g} "
        f"GMACs and {least.ms:.4g} ms on {options.board}, with {all_gone}every layer at its smallest width "
        f"({options.width_limits}). {', '.join(remedies)}."
    )
