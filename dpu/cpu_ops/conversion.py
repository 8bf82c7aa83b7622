"""Inputs, constants, and changes between int8 and float at the DPU's borders."""

from __future__ import annotations

import numpy as np

from dpu.arithmetic import FIX_POINT_RANGE, dequantise, quantise
from dpu.cpu_ops.arguments import Arguments, CpuOperator, one, unsupported
from dpu.errors import RunError
from dpu.graph import Op

_NUMPY_TYPES = {"float32": np.float32, "float64": np.float64, "int32": np.int32, "int64": np.int64, "xint8": np.int8}


def _fix_point(op: Op) -> int:
    """The position of a fix, fix2float or float2fix; 8 signed bits and DPU_ROUND are what the DPU has."""
    found = (op.value("bit_width", 8), op.value("if_signed", True), op.value("round_mode", "DPU_ROUND"))
    if found != (8, True, "DPU_ROUND"):
        unsupported(op, f"expected 8 bits, signed, DPU_ROUND; found {found[0]} bits, signed {found[1]}, {found[2]}")
    fix_point = op.typed("fix_point", "int32")
    if fix_point not in FIX_POINT_RANGE:
        unsupported(op, f"it has fix point {fix_point}, expected one from -32 to 32")
    return int(fix_point)


def _float2fix(op: Op, arguments: Arguments) -> np.ndarray:
    x, fix_point = one(op, arguments), _fix_point(op)
    if not np.isfinite(x).all():
        raise RunError(
            f"operator {op.name!r} ({op.type}): expected finite numbers to quantise, found NaN or infinity, computed "
            f"by {op.input_names()[0]!r}. Correct the inputs or that operator."
        )
    return quantise(x, fix_point)


def _fix2float(op: Op, arguments: Arguments) -> np.ndarray:
    return dequantise(one(op, arguments), _fix_point(op))


def _fix(op: Op, arguments: Arguments) -> np.ndarray:
    return dequantise(_float2fix(op, arguments), _fix_point(op))


def _const(op: Op, arguments: Arguments) -> np.ndarray:
    kind = _NUMPY_TYPES.get(op.output.dtype)
    content = op.typed("data", "bytes", b"")
    if kind is None or len(content) != int(np.prod(op.output.shape)) * np.dtype(kind).itemsize:
        unsupported(op, f"{len(content)} bytes of {op.output.dtype} for shape {list(op.output.shape)}")
    return np.frombuffer(content, np.dtype(kind).newbyteorder("<")).reshape(op.output.shape)


def _same(op: Op, arguments: Arguments) -> np.ndarray:
    return one(op, arguments)


OPERATORS: dict[str, CpuOperator] = {
    **dict.fromkeys(("const", "const-fix"), _const),
    "fix": _fix,
    "fix2float": _fix2float,
    "float2fix": _float2fix,
    **dict.fromkeys(("upload", "download", "identity", "placeholder"), _same),
}
