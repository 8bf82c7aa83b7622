"""The operation counts that AMD's compiler writes on operators and subgraphs: `workload` and `workload_on_arch`.

A multiply-accumulate counts 2, a bias 1; on the architecture (B4096) rows are padded to 8 (pooling, adding: 4) and
channels to 16. Equal to the figures in compiled files for convolution, fully connected and pooling; for additions one
operation an element, for concat and upsample none.
"""

from __future__ import annotations

from dpu.graph import Op


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def workload(op: Op, input_shape: tuple[int, ...]) -> tuple[int, int]:
    """`workload` and `workload_on_arch` of an integer operator whose first input has the given NHWC shape."""
    if op.type not in ("conv2d-fix", "pool-fix", "eltwise-fix") or len(op.output.shape) != 4:
        return 0, 0
    _, height, width, channels = op.output.shape
    kernel_w, kernel_h = (*op.typed("kernel", "int32_vec", ()), 1, 1)[:2]
    plain = height * width * channels
    if op.type == "pool-fix":
        return plain * kernel_w * kernel_h, _up(height, 4) * width * _up(channels, 16) * kernel_w * kernel_h
    if op.type == "eltwise-fix":
        terms = len(op.inputs.get("input", [])) - 1
        return plain * terms, _up(height, 4) * width * _up(channels, 16) * terms
    depth = input_shape[-1] if input_shape else 0
    padded = _up(height, 8) * width * _up(channels, 16)
    taps = kernel_h * (_up(depth * kernel_w, 16) if depth <= 8 else _up(depth, 16) * kernel_w)
    return plain * (2 * depth * kernel_w * kernel_h + 1), padded * (2 * taps + 1)
