"""Operators over windows of a picture (N, H, W, C): convolution, pooling, resizing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dpu.cpu_ops.arguments import Arguments, CpuOperator, biased, one, unsupported
from dpu.graph import Op

_LARGEST = 4096  # kernels, strides and padding; a damaged file's would run for ever

_Pair = tuple[int, int]
_Pads = tuple[int, int, int, int]  # top, bottom, left, right


def _pair(op: Op, key: str, default: _Pair | None = None) -> _Pair:
    """A {w, h} attribute as (h, w)."""
    value = op.typed(key, "int32_vec", default)
    if value is None or len(value) != 2 or not all(1 <= number <= _LARGEST for number in value):
        unsupported(op, f"attribute {key} is {value}, expected two whole numbers from 1 to {_LARGEST}")
    return value[1], value[0]


def _pads(op: Op, size_hw: _Pair, kernel_hw: _Pair, stride_hw: _Pair) -> _Pads:
    """The padding that gives the output tensor's size: CEIL needs more at the bottom and right, SAME divides it."""
    value, mode = op.typed("pad", "int32_vec", (0, 0, 0, 0)), op.typed("pad_mode", "string", "FLOOR")
    if (
        len(value) != 4
        or not all(0 <= number <= _LARGEST for number in value)
        or mode not in ("FLOOR", "CEIL", "SAME", "VALID")
    ):
        unsupported(op, f"pad {value} with pad_mode {mode!r}")
    pads: list[int] = []
    for axis, before, after in ((0, value[2], value[3]), (1, value[0], value[1])):
        needed = (op.output.shape[1 + axis] - 1) * stride_hw[axis] + kernel_hw[axis] - size_hw[axis]
        if mode == "SAME":
            before, after = max(needed, 0) // 2, max(needed, 0) - max(needed, 0) // 2
        elif mode == "CEIL":
            after = max(after, needed - before)
        pads += [before, after]
    return pads[0], pads[1], pads[2], pads[3]


def _taps(
    x: np.ndarray, kernel_hw: _Pair, stride_hw: _Pair, dilation_hw: _Pair
) -> Iterator[tuple[int, int, np.ndarray]]:
    """For each place in the kernel the picture as that place sees it, (N, OH, OW, C)."""
    out_h = (x.shape[1] - (kernel_hw[0] - 1) * dilation_hw[0] - 1) // stride_hw[0] + 1
    out_w = (x.shape[2] - (kernel_hw[1] - 1) * dilation_hw[1] - 1) // stride_hw[1] + 1
    if out_h < 1 or out_w < 1:
        return
    for ky in range(kernel_hw[0]):
        for kx in range(kernel_hw[1]):
            y, left = ky * dilation_hw[0], kx * dilation_hw[1]
            rows = x[:, y : y + (out_h - 1) * stride_hw[0] + 1 : stride_hw[0]]
            yield ky, kx, rows[:, :, left : left + (out_w - 1) * stride_hw[1] + 1 : stride_hw[1]]


def _padded(x: np.ndarray, pads: _Pads, value: float = 0.0) -> np.ndarray:
    top, bottom, left, right = pads
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def _picture(op: Op, arguments: Arguments) -> np.ndarray:
    x = one(op, arguments)
    if x.ndim != 4 or len(op.output.shape) != 4:
        unsupported(op, f"tensors of shapes {list(x.shape)} and {list(op.output.shape)}, expected [N, H, W, C]")
    return x


def _convolution(op: Op, arguments: Arguments) -> np.ndarray:
    """conv2d (weights O, kh, kw, I) with groups, and depthwise-conv2d (weights M, kh, kw, C), summed in float64."""
    x, weights = _picture(op, arguments).astype(np.float64), one(op, arguments, "weights").astype(np.float64)
    kernel_hw, stride_hw, dilation_hw = _pair(op, "kernel"), _pair(op, "stride"), _pair(op, "dilation", (1, 1))
    spread_hw = ((kernel_hw[0] - 1) * dilation_hw[0] + 1, (kernel_hw[1] - 1) * dilation_hw[1] + 1)
    x = _padded(x, _pads(op, x.shape[1:3], spread_hw, stride_hw))
    if x.shape[1] < spread_hw[0] or x.shape[2] < spread_hw[1]:
        unsupported(op, f"kernel {list(kernel_hw)} is larger than its padded input {list(x.shape)}")
    depthwise, group = op.type == "depthwise-conv2d", op.typed("group", "int32", 1)
    fits = weights.ndim == 4 and weights.shape[1:3] == kernel_hw and group >= 1 and weights.shape[0] % group == 0
    if not fits or weights.shape[3] * (1 if depthwise else group) != x.shape[3]:
        unsupported(op, f"weights {list(weights.shape)} and group {group} do not fit {x.shape[3]} channels")
    total: np.ndarray | float = 0.0
    for ky, kx, seen in _taps(x, kernel_hw, stride_hw, dilation_hw):
        if depthwise:
            products = seen[..., np.newaxis] * weights[:, ky, kx].T  # (N, OH, OW, C, M)
            total = total + products.reshape(*seen.shape[:3], -1)
        else:
            parts = zip(np.split(seen, group, axis=3), np.split(weights[:, ky, kx], group))  # noqa: B905
            total = total + np.concatenate([part @ kernels.T for part, kernels in parts], axis=3)
    return biased(op, arguments, np.asarray(total))


def _pool(op: Op, arguments: Arguments) -> np.ndarray:
    x = _picture(op, arguments)
    kernel_hw, stride_hw, pads = x.shape[1:3], (1, 1), (0, 0, 0, 0)
    if not op.value("global", False):
        kernel_hw, stride_hw = _pair(op, "kernel"), _pair(op, "stride")
        pads = _pads(op, x.shape[1:3], kernel_hw, stride_hw)
        if x.shape[1] + sum(pads[:2]) < kernel_hw[0] or x.shape[2] + sum(pads[2:]) < kernel_hw[1]:
            unsupported(op, f"kernel {list(kernel_hw)} is larger than its input {list(x.shape)} with padding {pads}")
    if op.type == "maxpool2d":
        best = _padded(x, pads, -np.inf)
        return np.asarray(np.max([seen for _, _, seen in _taps(best, kernel_hw, stride_hw, (1, 1))], axis=0))
    total = sum(seen for _, _, seen in _taps(_padded(x.astype(np.float64), pads), kernel_hw, stride_hw, (1, 1)))
    count = sum(seen for _, _, seen in _taps(_counted(op, x, pads), kernel_hw, stride_hw, (1, 1)))
    return np.asarray(total / count).astype(np.float32)


def _counted(op: Op, x: np.ndarray, pads: _Pads) -> np.ndarray:
    """1 where a pixel counts in a mean: in the picture, in its padding or beyond that, as the attributes say."""
    left, right, top, bottom = op.typed("pad", "int32_vec", (0, 0, 0, 0))
    declared = pads if op.value("pad_mode") == "SAME" else (top, bottom, left, right)
    picture = np.ones((1, *x.shape[1:3], 1))
    padded = _padded(picture, declared, float(op.value("count_include_pad", True)))
    beyond = (pads[0] - declared[0], pads[1] - declared[1], pads[2] - declared[2], pads[3] - declared[3])
    return _padded(padded, beyond, float(op.value("count_include_invalid", True)))


def _resize(op: Op, arguments: Arguments) -> np.ndarray:
    """By the rules in AMD's operator definition, one axis after the other, in float64."""
    x = _picture(op, arguments)
    mode, corners = op.typed("mode", "string"), bool(op.value("align_corners", False))
    if mode not in ("NEAREST", "BILINEAR"):
        unsupported(op, f"mode {mode!r}")
    for axis in (1, 2):
        size, out = x.shape[axis], op.output.shape[axis]
        ratio = (size - 1) / (out - 1) if corners and out > 1 else size / out
        steps = np.arange(out, dtype=np.float64)
        place = (steps + 0.5) * ratio - 0.5 if op.value("half_pixel_centers", False) else steps * ratio
        if mode == "NEAREST":
            index = np.floor(place + 0.5) if corners else np.floor(place)
            x = x.take(np.clip(index, 0, size - 1).astype(np.int64), axis=axis)
            continue
        place = np.clip(place, 0.0, size - 1)
        low = np.floor(place).astype(np.int64)
        weight = (place - low).reshape([-1 if a == axis else 1 for a in range(4)])
        x = x.take(low, axis=axis) * (1.0 - weight) + x.take(np.minimum(low + 1, size - 1), axis=axis) * weight
    return np.asarray(x).astype(np.float32)


OPERATORS: dict[str, CpuOperator] = {
    **dict.fromkeys(("conv2d", "depthwise-conv2d"), _convolution),
    **dict.fromkeys(("maxpool2d", "avgpool2d"), _pool),
    "resize": _resize,
}
