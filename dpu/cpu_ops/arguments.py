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


def axes_of(op: Op, rank: int, key: str = "axis") -> tuple[int, ...]:
    """The axes that an attribute names (one int32 or a vector of them), from 0 up."""
    value = op.value(key, ())
    axes = (value,) if isinstance(value, int) else tuple(value)
    if not all(-rank <= axis < rank for axis in axes):
        unsupported(op, f"attribute {key} is {value}, but its input has {rank} axes")
    return tuple(axis % rank for axis in axes)


def unsupported(op: Op, why: str) -> NoReturn:
    """Raise UnsupportedModelError for an operator on the CPU."""
    raise UnsupportedModelError(
        f"operator {op.name!r} ({op.type}) on the CPU: {why}. Supply your own {op.type}.py in a folder: --ops FOLDER."
    )
