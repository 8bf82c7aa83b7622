"""The operation counts that AMD's compiler writes on operators and subgraphs: `workload` and `workload_on_arch`.

A multiply-accumulate counts 2, a bias 1; on the architecture (B4096) rows are padded to 8 (pooling, adding, depthwise:
4) and channels to 16; a transposed convolution pads the rows that it reads. Equal to the figures in compiled files for
convolution, fully connected, transposed convolution and pooling. No public file has the others' figures: depthwise
convolutions are counted like convolutions, sums and products one operation an element, all else none, as the compiled
files have it for hard-sigmoid, reshape and concat.
"""

from __future__ import annotations

from dpu.graph import Op

_ELEMENTWISE = ("eltwise-fix", "depthwise-fix")
_DEPTHWISE = ("depthwise-conv2d-fix", "transposed-depthwise-conv2d-fix")
_TRANSPOSED = ("transposed-conv2d-fix", "transposed-depthwise-conv2d-fix")
_COUNTED = ("conv2d-fix", "pool-fix", *_ELEMENTWISE, *_DEPTHWISE, *_TRANSPOSED)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def workload(op: Op, input_shape: tuple[int, ...]) -> tuple[int, int]:
    """`workload` and `workload_on_arch` of an integer operator whose first input has the given NHWC shape."""
    if op.type not in _COUNTED or len(op.output.shape) != 4 or len(input_shape) != 4:
        return 0, 0
    _, height, width, channels = op.output.shape
    kernel_w, kernel_h = (*op.typed("kernel", "int32_vec", ()), 1, 1)[:2]
    plain = height * width * channels
    if op.type == "pool-fix":
        return plain * kernel_w * kernel_h, _up(height, 4) * width * _up(channels, 16) * kernel_w * kernel_h
    if op.type in _ELEMENTWISE:
        terms = len(op.inputs.get("input", [])) - 1
        return plain * terms, _up(height, 4) * width * _up(channels, 16) * terms
    depth = 1 if op.type in _DEPTHWISE else input_shape[3]
    rows = 4 if op.type in _DEPTHWISE else 8
    if op.type in _TRANSPOSED:
        return _transposed(op, input_shape, depth, kernel_w * kernel_h, rows)
    padded = _up(height, rows) * width * _up(channels, 16)
    if op.type in _DEPTHWISE:
        taps = kernel_w * kernel_h
    else:
        taps = kernel_h * (_up(depth * kernel_w, 16) if depth <= 8 else _up(depth, 16) * kernel_w)
    return plain * (2 * depth * kernel_w * kernel_h + 1), padded * (2 * taps + 1)


def _transposed(op: Op, input_shape: tuple[int, ...], depth: int, taps: int, rows: int) -> tuple[int, int]:
    """Every input pixel meets every tap once; rows are padded before they are spread by the stride."""
    _, in_height, in_width, _ = input_shape
    _, height, width, channels = op.output.shape
    _, stride_h = (*op.typed("stride", "int32_vec", ()), 1, 1)[:2]
    macs = in_height * in_width * taps * depth * channels
    padded_channels, padded_rows = _up(channels, 16), _up(in_height, rows)
    padded_depth = depth if op.type in _DEPTHWISE else _up(depth, 16)
    padded_macs = padded_rows * in_width * taps * padded_depth * padded_channels
    bias, padded_bias = height * width * channels, padded_rows * stride_h * width * padded_channels
    return 2 * macs + bias, 2 * padded_macs + padded_bias
