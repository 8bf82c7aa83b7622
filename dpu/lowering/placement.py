"""Where each group of a quantised graph runs, and at which position its integers are.

A group runs on the DPU where the DPU has it and its values are on int8 grids; everything else runs on the CPU as it
stands. Levels count the changes of device on the longest way from the inputs: even ones are on the DPU, odd ones on the
CPU. One level is one subgraph, which gives few of them and never a circle.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from dpu.graph import Op
from dpu.lowering.form import Form
from dpu.lowering.forms import MAKERS, check_slope, form_of
from dpu.lowering.fully_connected import fully_connected
from dpu.lowering.groups import CONVOLUTIONS, FULLY_CONNECTED, VIEWS, Group, Grouped, Position

_log = logging.getLogger(__name__)

_FARTHEST = 200  # operators in a row without a fix; networks have two or three
_NEEDS_FIX = CONVOLUTIONS  # without positions the graph was not quantised for a DPU
_CHOOSES = ("maxpool2d", "reduction_max", "strided_slice", *VIEWS)  # their output is made of their input's values


@dataclass(frozen=True)
class Placed:
    """A group's place. On the DPU it has a form and a position; `reads` are the values it takes in."""

    group: Group
    level: int
    reads: tuple[str, ...]
    form: Form | None = None
    position: Position | None = None
    absorbed: bool = False  # a view that only fully connected layers look through: nothing is left of it

    @property
    def on_dpu(self) -> bool:
        """Whether the DPU runs it; the CPU otherwise."""
        return self.form is not None


def keeps_grid(op: Op) -> bool:
    """Whether an operator's output consists of values of its input (and zeros): it needs no rounding of its own."""
    if op.type == "resize":
        return bool(op.value("mode") == "NEAREST")
    if op.type == "pad":
        return not any(op.typed("constant_values", "float_vec", ()))
    return op.type in _CHOOSES


class Placement:
    """The places of all groups, and the grids of all values."""

    def __init__(self, graph: Grouped) -> None:
        self.graph = graph
        self.placed: dict[str, Placed] = {}  # by the name of a group's first operator
        self._below: dict[str, Position | None] = {}  # what _downstream found, by a group's first operator
        self.grid: dict[str, int] = {}  # operator whose value is on an int8 grid -> fix point
        for group in graph.groups:
            place = self._data(group) if group.op.type == "data" else self._place(group)
            self.placed[group.op.name] = place
            if place.position is not None:
                self.grid.update((op.name, place.position.fix_point) for op in group.ops)
            else:
                self._cpu_grid(group)
        self._absorb()

    def of(self, name: str) -> Placed:
        """The place of the group that an operator belongs to."""
        return self.placed[self.graph.of[name].op.name]

    def in_order(self) -> list[Placed]:
        """All places in the graph's order."""
        return [self.placed[group.op.name] for group in self.graph.groups]

    def is_output(self, group: Group) -> bool:
        """Whether nothing reads a group's value, or the graph returns it."""
        returned = self.graph.graph.typed("return_ops", "string_vec", ())
        return not any(True for _ in self.graph.readers_of(group)) or any(op.name in returned for op in group.ops)

    def _data(self, group: Group) -> Placed:
        """An input: int8 where its only readers are fixes, else float. It is in no level."""
        if not group.fixes:
            return Placed(group, 0, ())
        position = self.graph.common(group.op, [self.graph.position(fix) for fix in group.fixes])
        return Placed(group, 0, (), None, position)

    def _place(self, group: Group) -> Placed:
        place = self._on_dpu(group)
        if isinstance(place, Placed):
            return place
        _log.info("operator %r (%s) runs on the CPU: %s", group.op.name, group.op.type, place)
        return Placed(group, self._level(group.inputs, 1), group.inputs)

    def _level(self, names: tuple[str, ...], parity: int) -> int:
        level = max((self.of(name).level for name in names), default=0)
        return level + (level + parity) % 2

    def _on_dpu(self, group: Group) -> Placed | str:
        op, reads = group.op, group.inputs
        if op.type not in MAKERS and op.type not in FULLY_CONNECTED:
            return f"the DPU has no {op.type!r}"
        offending = next((name for name in reads if name not in self.grid), None)
        if offending is not None:
            if op.type in _NEEDS_FIX:
                self.graph.refuse(op, f"its input {offending!r} is not quantised: an input must be quantised by a fix")
            return f"its input {offending!r} is not quantised"
        check_slope(self.graph, group)
        if op.type in VIEWS and not (reads and self._stays_on_dpu(group)):
            return "its input is on the CPU"
        position = self._position(group)
        if position is None:
            return "its output is not quantised"
        shapes = tuple(self.graph.of[name].shape for name in reads)
        if op.type in FULLY_CONNECTED and len(reads) == 1:
            form, source = fully_connected(self.graph, op, group.activation, reads[0], self.grid.get)
            reads = (source,)
        else:
            form = form_of(self.graph, group, shapes, tuple(self.grid[n] for n in reads), position.fix_point)
        if isinstance(form, str):
            return form
        return Placed(group, self._level(reads, 0), reads, form, position)

    def _stays_on_dpu(self, group: Group) -> bool:
        """Whether a view reads what is on the DPU already: a change of shape is not worth a change of device."""
        place = self.of(group.inputs[0])
        return place.on_dpu or place.group.op.type == "data"

    def _position(self, group: Group) -> Position | None:
        """Where a group's value is rounded: by its fixes, on its input's grid, or further down."""
        if group.fixes:
            return self.graph.common(group.end, [self.graph.position(fix) for fix in group.fixes])
        readers = [reader.type for reader in self.graph.readers[group.end.name]]
        if "fix" in readers and group.op.type in _NEEDS_FIX:
            self.graph.refuse(group.end, "it is read both before and after its fix")
        if keeps_grid(group.op):
            return Position(self.grid[group.inputs[0]], group.end.output.name) if group.inputs else None
        found = self._downstream(group)
        return None if found is None else Position(found.fix_point, group.end.output.name)

    def _downstream(self, group: Group, depth: int = 0) -> Position | None:
        """The one position at which a value without a fix is rounded: that of what it ends up in unchanged."""
        if depth > _FARTHEST:
            self.graph.refuse(group.end, f"more than {_FARTHEST} operators before it have no fix")
        if group.op.name not in self._below:
            self._below[group.op.name] = self._common_below(group, depth)
        return self._below[group.op.name]

    def _common_below(self, group: Group, depth: int) -> Position | None:
        found = []
        must = group.op.type in _NEEDS_FIX
        for reader in self.graph.readers_of(group):
            position = None
            if reader.fixes and (reader.op.type == "concat" or keeps_grid(reader.op)):
                position = self.graph.common(reader.end, [self.graph.position(fix) for fix in reader.fixes])
            elif reader.op.type == "concat" or keeps_grid(reader.op):
                position = self._downstream(reader, depth + 1)
            if position is None:
                if must:
                    why = f"it has no fix and is read by {reader.op.type!r}, which needs a quantised input"
                    self.graph.refuse(group.end, why)
                return None
            found.append(position)
        if not found:
            if must:
                why = "it is an output of the graph but is not quantised; only a fix sets a position"
                self.graph.refuse(group.end, why)
            return None
        if not must and len({position.fix_point for position in found}) != 1:
            return None
        return self.graph.common(group.end, found)

    def _cpu_grid(self, group: Group) -> None:
        """What is known of a CPU group's values: a fix puts them on a grid, a choice leaves them there."""
        op = group.op
        grid = None
        if op.type == "fix":
            grid = self.graph.position(op).fix_point
        elif keeps_grid(op) and len(group.inputs) == 1:
            grid = self.grid.get(group.inputs[0])
        if grid is not None:
            self.grid.update((member.name, grid) for member in group.ops[: len(group.ops) - len(group.fixes)])
        for fix in group.fixes:
            self.grid[fix.name] = self.graph.position(fix).fix_point

    def _absorb(self) -> None:
        """Mark the views that only fully connected layers look through."""
        layers = [place for place in self.placed.values() if place.on_dpu and place.group.op.type in FULLY_CONNECTED]
        read = {name for layer in layers for name in layer.reads}
        for group in reversed(self.graph.groups):
            place = self.placed[group.op.name]
            kept = self.is_output(group) or any(op.name in read for op in group.ops)
            if group.op.type in VIEWS and not kept and self.is_looked_through(group):
                self.placed[group.op.name] = Placed(group, place.level, place.reads, absorbed=True)

    def is_looked_through(self, group: Group) -> bool:
        """Whether nothing but fully connected layers reads a group's value, which take it as a picture."""
        places = [self.placed[reader.op.name] for reader in self.graph.readers_of(group)]
        return all(p.absorbed or (p.on_dpu and p.group.op.type in FULLY_CONNECTED) for p in places)
