"""Sums, means, maxima and norms over axes; softmax and argmax; products of matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dpu.cpu_ops.arguments import Arguments, CpuOperator, axes_of, axis_of, biased, one, unsupported
from dpu.graph import Op


def _reduction(function: Callable[..., np.ndarray]) -> CpuOperator:
    """An operator over `axis`, in float64, that keeps or drops the reduced axes."""

    def run(op: Op, arguments: Arguments) -> np.ndarray:
        x = one(op, arguments)
        axes = axes_of(op, x.ndim) or tuple(range(x.ndim))
        result = function(x.astype(np.float64), axis=axes, keepdims=bool(op.value("keep_dims", False)))
        return np.asarray(result).astype(np.float32)

    return run


def _softmax(op: Op, arguments: Arguments) -> np.ndarray:
    """exp(x) / sum(exp(x)); the largest x is taken off first, which changes nothing but keeps exp in range."""
    x = one(op, arguments).astype(np.float64)
    axes = axes_of(op, x.ndim) or (x.ndim - 1,)
    powers = np.exp(x - x.max(axis=axes, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axes, keepdims=True)).astype(np.float32)


def _argmax(op: Op, arguments: Arguments) -> np.ndarray:
    x = one(op, arguments)
    axis = axis_of(op, x.ndim, x.ndim - 1)
    kept = len(op.output.shape) == x.ndim
    found = np.asarray(x.argmax(axis=axis, keepdims=kept))
    return found.astype(op.output.dtype if op.output.dtype in ("int32", "int64") else np.float32)


def _l2_normalize(op: Op, arguments: Arguments) -> np.ndarray:
    x = one(op, arguments).astype(np.float64)
    axes = axes_of(op, x.ndim) or tuple(range(x.ndim))
    squares = (x * x).sum(axis=axes, keepdims=True)
    return np.asarray(x / np.sqrt(np.maximum(squares, op.value("epsilon", 1e-12)))).astype(np.float32)


def _matmul(op: Op, arguments: Arguments) -> np.ndarray:
    arrays = [array.astype(np.float64) for array in arguments.get("input", [])]
    if len(arrays) != 2 or min(array.ndim for array in arrays) < 2:
        unsupported(op, "expected two matrices")
    for index, key in enumerate(("transpose_a", "transpose_b")):
        if op.value(key, False):
            arrays[index] = arrays[index].swapaxes(-1, -2)
    if arrays[0].shape[-1] != arrays[1].shape[-2]:
        unsupported(op, f"matrices of shapes {[list(array.shape) for array in arrays]} do not fit")
    return biased(op, arguments, arrays[0] @ arrays[1])


def _inner_product(op: Op, arguments: Arguments) -> np.ndarray:
    x, weights = one(op, arguments).astype(np.float64), one(op, arguments, "weights").astype(np.float64)
    axis = axis_of(op, x.ndim, 1)
    rows, columns = x.reshape(*x.shape[:axis], -1), weights.reshape(weights.shape[0], -1)
    if rows.shape[-1] != columns.shape[-1]:
        unsupported(op, f"weights {list(weights.shape)} do not fit {rows.shape[-1]} inputs")
    return biased(op, arguments, rows @ columns.T)


OPERATORS: dict[str, CpuOperator] = {
    "reduction_sum": _reduction(np.sum),
    "reduction_mean": _reduction(np.mean),
    "reduction_max": _reduction(np.max),
    "reduction_min": _reduction(np.min),
    "reduction_product": _reduction(np.prod),
    "softmax": _softmax,
    "argmax": _argmax,
    "l2_normalize": _l2_normalize,
    "matmul": _matmul,
    "inner-product": _inner_product,
}
