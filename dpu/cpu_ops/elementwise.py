"""Functions of each element, and operators between elements of several tensors (repeated as numpy does it)."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import erf

import numpy as np

from dpu.cpu_ops.arguments import Arguments, CpuOperator, axis_of, check_broadcast, one, optional, unsupported
from dpu.graph import Op

_erf = np.vectorize(erf, otypes=[np.float64])


def _float64(function: Callable[[np.ndarray], np.ndarray]) -> CpuOperator:
    """An operator that applies a function of float64 and rounds once to float32."""

    def run(op: Op, arguments: Arguments) -> np.ndarray:
        with np.errstate(over="ignore"):  # exp of a large number is infinity, in C as here
            result: np.ndarray = function(one(op, arguments).astype(np.float64))
        return result.astype(np.float32)

    return run


def _between(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> CpuOperator:
    """An operator between two or more tensors, from left to right, in float32."""

    def run(op: Op, arguments: Arguments) -> np.ndarray:
        arrays = arguments.get("input", [])
        if not arrays:
            unsupported(op, "it has no input")
        check_broadcast(op, *arrays)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # as float32 has it: infinity or NaN
            return np.asarray(reduce(function, arrays))

    return run


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _hard_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(x + 3.0, 0.0, 6.0) / 6.0)


def _elu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def _elu_operator(op: Op, arguments: Arguments) -> np.ndarray:
    alpha = op.typed("alpha", "float", 1.0)
    return _float64(lambda x: _elu(x, alpha))(op, arguments)


def _leaky_relu(op: Op, arguments: Arguments) -> np.ndarray:
    x, alpha = one(op, arguments), np.float32(op.typed("alpha", "float"))
    return np.where(x < 0, x * alpha, x)


def _prelu(op: Op, arguments: Arguments) -> np.ndarray:
    x, weight = one(op, arguments), one(op, arguments, "weight")
    check_broadcast(op, x, weight)
    return np.where(x < 0, x * weight, x)


def _batchnorm(op: Op, arguments: Arguments) -> np.ndarray:
    """As AMD's code has it: slope and offset in float32 first, over the axes from `axis` on."""
    x = one(op, arguments)
    names = ("gamma", "beta", "moving_mean", "moving_var")
    gamma, beta, mean, variance = (one(op, arguments, name) for name in names)
    check_broadcast(op, x, gamma, beta, mean, variance)
    inverse = np.float32(1.0) / np.sqrt(variance + np.float32(op.value("epsilon")))
    return np.asarray(x * (inverse * gamma) + (beta - mean * inverse * gamma))


def _scale(op: Op, arguments: Arguments) -> np.ndarray:
    x, factor, bias = one(op, arguments), one(op, arguments, "scale"), optional(op, arguments, "bias")
    axis = axis_of(op, x.ndim, x.ndim - 1)
    extent = [1] * x.ndim
    extent[axis] = -1
    factor = factor.reshape(extent)
    bias = np.zeros(1, np.float32) if bias is None else bias.reshape(extent)
    check_broadcast(op, x, factor, bias)
    return np.asarray(x * factor + bias)


OPERATORS: dict[str, CpuOperator] = {
    "relu": lambda op, arguments: np.maximum(one(op, arguments), np.float32(0)),
    "relu6": lambda op, arguments: np.clip(one(op, arguments), np.float32(0), np.float32(6)),
    "neg": lambda op, arguments: -one(op, arguments),
    "leaky-relu": _leaky_relu,
    "prelu": _prelu,
    "elu": _elu_operator,
    "sigmoid": _float64(_sigmoid),
    "swish": _float64(lambda x: np.asarray(x * _sigmoid(x))),
    "tanh": _float64(np.tanh),
    "exp": _float64(np.exp),
    "gelu": _float64(lambda x: np.asarray(x / 2.0 * (1.0 + _erf(x / np.sqrt(2.0))))),
    "mish": _float64(lambda x: np.asarray(x * np.tanh(np.logaddexp(0.0, x)))),
    "hard-sigmoid": _float64(_hard_sigmoid),
    "hard-swish": _float64(lambda x: np.asarray(x * _hard_sigmoid(x))),
    "hard-tanh": _float64(lambda x: np.clip(x, -1.0, 1.0)),
    "add": _between(np.add),
    "sub": _between(np.subtract),
    "mul": _between(np.multiply),
    "div": _between(np.divide),
    "max": _between(np.maximum),
    "min": _between(np.minimum),
    "batchnorm": _batchnorm,
    "scale": _scale,
}
