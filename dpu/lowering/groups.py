"""The operators of a quantised graph in groups: what one step of the DPU does at once.

A group is an operator, the constant factor that the quantiser multiplies it with (pools, hard-sigmoid), its activation
and its fixes. A group that runs on the CPU falls apart into its operators again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from dpu.arithmetic import FIX_POINT_RANGE
from dpu.errors import UnsupportedModelError, XmodelError
from dpu.graph import Graph, Op

CONVOLUTIONS = ("conv2d", "depthwise-conv2d", "transposed-conv2d", "transposed-depthwise-conv2d")
FULLY_CONNECTED = ("matmul", "inner-product")
VIEWS = ("reshape", "flatten", "squeeze", "transpose")  # the same values in another shape or order

_ACTIVATIONS = {"relu": "RELU", "leaky-relu": "LEAKYRELU", "relu6": "RELU6"}
_LAYERS = (*CONVOLUTIONS, *FULLY_CONNECTED)
_FUSED_AFTER = {"relu": (*_LAYERS, "add", "eltwise", "mul"), "leaky-relu": _LAYERS, "relu6": _LAYERS}
_TAKES_FACTOR = ("avgpool2d", "hard-sigmoid", "reduction_mean")


@dataclass(frozen=True)
class Position:
    """A fix point and the name of the tensor that has it."""

    fix_point: int
    tensor_name: str


@dataclass(frozen=True)
class Group:
    """One step: `ops` in order; `inputs` are the activations it reads, by operator name."""

    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    activation: str = "NONE"
    factor: float | None = None
    fixes: tuple[Op, ...] = ()

    @property
    def op(self) -> Op:
        """The operator that computes."""
        return self.ops[0]

    @property
    def end(self) -> Op:
        """The operator whose value the fixes round."""
        return self.ops[-1 - len(self.fixes)]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the group's value."""
        return self.end.output.shape


@dataclass
class Grouped:
    """A whole quantised graph: its groups in order, and what can be computed without any input."""

    graph: Graph
    groups: list[Group] = field(default_factory=list)
    of: dict[str, Group] = field(default_factory=dict)  # operator -> its group
    readers: dict[str, list[Op]] = field(default_factory=dict)
    constant: dict[str, Op] = field(default_factory=dict)  # const operators and what is made of them alone

    def readers_of(self, group: Group) -> Iterator[Group]:
        """The groups that read a group's value, rounded or not, one entry for each reading."""
        inside = {op.name for op in group.ops}
        for op in group.ops:
            names = [reader.name for reader in self.readers[op.name] if reader.name not in inside]
            yield from (self.of[name] for name in names if name in self.of)

    def refuse(self, op: Op, why: str) -> NoReturn:
        """Raise UnsupportedModelError for an operator."""
        where = self.graph.root.name if self.graph.root else self.graph.name
        raise UnsupportedModelError(
            f"operator {op.name!r} ({op.type}) in subgraph {where!r}: {why}. "
            "Change the network so that the DPU can run it, and quantise it again."
        )

    def position(self, fix: Op) -> Position:
        """A fix operator's position; only the DPU's 8 bits and rounding are known."""
        width, signed, mode = fix.value("bit_width"), fix.value("if_signed"), fix.value("round_mode")
        if (width, signed, mode) != (8, True, "DPU_ROUND"):
            self.refuse(fix, f"expected 8 bits, signed, DPU_ROUND; found {width} bits, signed {signed}, {mode}")
        fix_point = fix.typed("fix_point", "int32")
        if fix_point not in FIX_POINT_RANGE:
            self.refuse(fix, f"it has fix point {fix_point}, expected one from -32 to 32")
        return Position(fix_point, fix.output.name)

    def common(self, op: Op, positions: list[Position]) -> Position:
        """The one position that several fixes agree on."""
        if len({position.fix_point for position in positions}) != 1:
            self.refuse(op, f"it is quantised at different fix points {sorted({p.fix_point for p in positions})}")
        return positions[0]


def grouped(graph: Graph) -> Grouped:
    """A quantised graph in groups."""
    result = Grouped(graph, readers=graph.consumers())
    ops = graph.op_by_name()
    for op in graph.ops:
        names = op.input_names()
        if 0 in op.output.shape:
            raise XmodelError(
                f"operator {op.name!r} ({op.type}): expected a tensor with values, found shape "
                f"{list(op.output.shape)}. The file is damaged: export it again."
            )
        if op.type == "fix" and len(names) != 1:
            result.refuse(op, f"it has {len(names)} inputs, expected 1")
        if (op.type == "const" and not names) or (names and all(name in result.constant for name in names)):
            result.constant[op.name] = op
        elif op.name not in result.of:
            group = _group(result, op, ops)
            result.groups.append(group)
            result.of.update((member.name, group) for member in group.ops)
    return result


def constant_values(const: Op) -> np.ndarray:
    """A float constant's values, float32. Raises XmodelError for a damaged one."""
    shape, content = const.output.shape, const.typed("data", "bytes", b"")
    size = 4
    for extent in shape:
        size *= extent
    if const.output.dtype != "float32" or len(content) != size:
        raise XmodelError(
            f"constant {const.name!r}: expected {size} bytes of float32 for shape {list(shape)}, found "
            f"{len(content)} bytes of {const.output.dtype}. The file is damaged: export it again."
        )
    values = np.frombuffer(content, "<f4").reshape(shape)
    if not np.isfinite(values).all():
        raise XmodelError(f"constant {const.name!r} holds NaN or infinity. Quantise the network again.")
    return values


def _group(graph: Grouped, op: Op, ops: dict[str, Op]) -> Group:
    chain = [op]
    factor = None
    activation = "NONE"
    reader = _only_reader(graph, op)
    if op.type in _TAKES_FACTOR and reader is not None and reader.type == "mul":
        factor = _scalar_beside(graph, reader, op, ops)
        if factor is not None:
            chain.append(reader)
            reader = _only_reader(graph, reader)
    if reader is not None and len(reader.input_names()) == 1 and op.type in _FUSED_AFTER.get(reader.type, ()):
        activation = _ACTIVATIONS[reader.type]
        chain.append(reader)
    readers = graph.readers[chain[-1].name]
    fixes = tuple(readers) if all(_is_fix_of(chain[-1], reader) for reader in readers) else ()
    inputs = tuple(name for name in op.input_names() if name not in graph.constant)
    return Group((*chain, *fixes), inputs, activation, factor, fixes)


def _is_fix_of(op: Op, reader: Op) -> bool:
    return reader.type == "fix" and reader.input_names() == [op.name]


def _only_reader(graph: Grouped, op: Op) -> Op | None:
    readers = graph.readers[op.name]
    return readers[0] if len(readers) == 1 else None


def _scalar_beside(graph: Grouped, mul: Op, operand: Op, ops: dict[str, Op]) -> float | None:
    """The number that a mul multiplies an operand with, where it is a constant of one element."""
    others = [ops[name] for name in mul.inputs.get("input", []) if name != operand.name]
    if len(others) != 1 or others[0].type != "const" or int(np.prod(others[0].output.shape)) != 1:
        return None
    return float(constant_values(others[0]).ravel()[0])
