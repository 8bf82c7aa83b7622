"""An integer operator in the making, and its int8 constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Union

import numpy as np

from dpu.arithmetic import half_up, saturate
from dpu.graph import Attr, Op, Tensor
from dpu.lowering.groups import Group, Grouped, constant_values


@dataclass(frozen=True)
class Form:
    """An integer operator in the making; `constants` are its weights and bias by argument name.

    `picture` is the [1, H, W, C] that it gives where the quantised graph's tensor has fewer axes.
    """

    type: str
    attrs: dict[str, Attr] = field(default_factory=dict)
    constants: dict[str, Op] = field(default_factory=dict)
    picture: tuple[int, ...] | None = None


FormOrReason = Union[Form, str]  # noqa: UP007 (evaluated at import on Python 3.9)
Maker = Callable[[Grouped, Group, tuple[tuple[int, ...], ...], tuple[int, ...], int], FormOrReason]


def fixed_constant(graph: Grouped, op: Op, argument: str) -> Op | None:
    """An operator's weights or bias as int8 `const-fix`, or None where it has none. Refuses an unquantised one."""
    names = op.inputs.get(argument, [])
    if not names:
        return None
    fix = graph.constant.get(names[0])
    if fix is None or fix.type != "fix" or len(names) != 1:
        graph.refuse(op, f"its {argument} must be a constant with a fix")
    const = graph.constant[fix.input_names()[0]]
    if const.type != "const":
        graph.refuse(op, f"its {argument} must be a constant with a fix")
    position = graph.position(fix)
    integers = saturate(half_up(constant_values(const).astype(np.float64) * 2.0**position.fix_point))
    return const_fix(const.name, position.tensor_name, integers, position.fix_point)


def const_fix(name: str, tensor_name: str, integers: np.ndarray, fix_point: int) -> Op:
    """An int8 constant of the DPU."""
    attrs = {
        "shape": Attr("int32_vec", integers.shape),
        "data_type": Attr("string", "XINT8"),
        "device": Attr("string", "DPU"),
        "data": Attr("bytes", integers.tobytes()),
    }
    return Op(name, "const-fix", attrs, {}, int8_tensor(tensor_name, integers.shape, fix_point))


def int8_tensor(name: str, shape: tuple[int, ...], fix_point: int) -> Tensor:
    """An int8 tensor with its position."""
    attrs = {
        "fix_point": Attr("int32", fix_point),
        "bit_width": Attr("int32", 8),
        "if_signed": Attr("bool", True),
        "round_mode": Attr("string", "DPU_ROUND"),
    }
    return Tensor(name, shape, "xint8", attrs)


def kept(op: Op, *keys: str) -> dict[str, Attr]:
    """Those of an operator's attributes that it has."""
    return {key: op.attrs[key] for key in keys if key in op.attrs}
