"""What a CPU operator is given: arrays by argument name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import numpy as np

from dpu.errors import UnsupportedModelError
from dpu.graph import Op

Arguments = dict[str, list[np.ndarray]]
CpuOperator = Callable[[Op, Arguments], np.ndarray]


def one(op: Op, arguments: Arguments, name: str = "input") -> np.ndarray:
    """The only array of an argument."""
    arrays = arguments.get(name, [])
    if len(arrays) != 1:
        unsupported(op, f"it has {len(arrays)} arrays for {name!r}, expected 1")
    return arrays[0]


def optional(op: Op, arguments: Arguments, name: str) -> np.ndarray | None:
    """The array of an argument that may be left out."""
    return one(op, arguments, name) if arguments.get(name) else None


def axes_of(op: Op, rank: int) -> tuple[int, ...]:
    """The axes that `axis` names (one int32 or a vector of them), from 0 up; none where it is left out."""
    attr = op.attrs.get("axis")
    if attr is None:
        return ()
    axes = {"int32": lambda: (attr.value,), "int32_vec": lambda: attr.value}.get(attr.kind, lambda: (rank,))()
    if not all(-rank <= axis < rank for axis in axes):
        unsupported(op, f"attribute axis is {attr.value}, but its input has {rank} axes")
    return tuple(axis % rank for axis in axes)


def axis_of(op: Op, rank: int, default: int) -> int:
    """The one axis that `axis` names, from 0 up."""
    axes = axes_of(op, rank) or (default,)
    if len(axes) != 1:
        unsupported(op, f"attribute axis is {list(axes)}, expected one axis")
    return axes[0]


def biased(op: Op, arguments: Arguments, total: np.ndarray) -> np.ndarray:
    """Sums (..., O) with the operator's bias (O,), where it has one, in float32."""
    bias = optional(op, arguments, "bias")
    if bias is not None and bias.shape != total.shape[-1:]:
        unsupported(op, f"bias {list(bias.shape)} does not fit {total.shape[-1]} outputs")
    return np.asarray(total if bias is None else total + bias).astype(np.float32)


def check_broadcast(op: Op, *arrays: np.ndarray) -> None:
    """Refuse arrays that cannot be repeated to one shape."""
    try:
        np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        unsupported(op, f"tensors of shapes {[list(array.shape) for array in arrays]} do not fit each other")


def unsupported(op: Op, why: str) -> NoReturn:
    """Raise UnsupportedModelError for an operator on the CPU."""
    raise UnsupportedModelError(
        f"operator {op.name!r} ({op.type}) on the CPU: {why}. Supply your own {op.type}.py in a folder: --ops FOLDER."
    )
