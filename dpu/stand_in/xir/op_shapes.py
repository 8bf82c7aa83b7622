"""The shapes that an operator reads, and the error where they do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .aborts import aborts

if TYPE_CHECKING:
    from dpu.errors import RunError

    from .op import Op


def wrong(op: Op, why: str, remedy: str = "Check its inputs and attributes.") -> RunError:
    """The error to raise where an operator's inputs and attributes contradict each other."""
    return aborts(f"operator {op.get_name()!r} ({op.get_type()}): {why}", remedy)


def input_shape(op: Op, argument: str = "input", rank: int | None = None) -> list[int]:
    """The shape of an argument's first tensor. Raises RunError for another number of dimensions than `rank`."""
    shape = op.get_input_tensor(argument).dims
    if rank is not None and len(shape) != rank:
        raise wrong(op, f"expected {rank} dimensions in input {argument!r}, found {shape}")
    return shape


def axis_of(op: Op, rank: int, axis: int | None = None) -> int:
    """An axis, by default the attribute `axis`, counted from the front. Raises RunError where there is none such."""
    axis = op.get_attr("axis") if axis is None else axis
    if not -rank <= axis < rank:
        raise wrong(op, f"there is no axis {axis} in {rank} dimensions")
    return axis % rank
