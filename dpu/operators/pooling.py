"""Pooling: maximum, and average with the DPU's whole-number factors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dpu.arithmetic import requantise, saturate, shift_half_up
from dpu.exactness import fits_float32
from dpu.operators.windows import max_pool, size_after, sum_windows
from dpu.program import Step

if TYPE_CHECKING:
    from dpu.graph import Op
    from dpu.onnx_builder import OnnxBuilder
    from dpu.program_reader import Reader


@dataclass(frozen=True)
class _Pool(Step):
    kernel_hw: tuple[int, int]
    stride_hw: tuple[int, int]
    pad_tblr: tuple[int, int, int, int]

    def output_shape(self) -> tuple[int, ...]:
        top, bottom, left, right = self.pad_tblr
        _, height, width, channels = self.input.shape
        return (
            1,
            size_after(height, top + bottom, self.kernel_hw[0], self.stride_hw[0]),
            size_after(width, left + right, self.kernel_hw[1], self.stride_hw[1]),
            channels,
        )

    def _attributes(self) -> dict[str, Any]:
        top, bottom, left, right = self.pad_tblr
        return {"kernel_shape": self.kernel_hw, "strides": self.stride_hw, "pads": (top, left, bottom, right)}


@dataclass(frozen=True)
class MaxPool(_Pool):
    """Maximum over windows; padding never wins."""

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        pooled = max_pool(x, self.kernel_hw, self.stride_hw, self.pad_tblr)
        return requantise(pooled, self.input.fix_point, self.output.fix_point)

    def build(self, onnx: OnnxBuilder) -> str:
        pooled = onnx.node("MaxPool", [onnx.take(self.input)], **self._attributes())
        return onnx.moved(pooled, self.input.fix_point, self.output.fix_point)


@dataclass(frozen=True)
class AveragePool(_Pool):
    """The window's sum times N / 2^M (see `average_factors`), rounded once; padding adds 0 and counts as pixels."""

    def shift(self) -> int:
        """The bits to cut off N times the sum."""
        return average_factors(self.kernel_hw)[1] + self.input.fix_point - self.output.fix_point

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        total = sum_windows(x, self.kernel_hw, self.stride_hw, self.pad_tblr)
        return saturate(shift_half_up(total * average_factors(self.kernel_hw)[0], self.shift()))

    def build(self, onnx: OnnxBuilder) -> str:
        """The sum alone is exact in float32: at most 256 * 256 values of 128, which is 2^23."""
        factor, pixels = average_factors(self.kernel_hw)[0], self.kernel_hw[0] * self.kernel_hw[1]
        double = not fits_float32(128 * pixels * factor, self.shift())
        source = onnx.take(self.input)
        if self.kernel_hw == self.input.shape[1:3] and self.output.shape[1:3] == (1, 1) and not any(self.pad_tblr):
            total = onnx.node("ReduceSum", [source, onnx.integers((2, 3))])
        else:
            channels = self.input.shape[3]
            ones = onnx.constant(np.ones((channels, 1, *self.kernel_hw), np.float32))
            total = onnx.node("Conv", [source, ones], group=channels, **self._attributes())
        total = onnx.double(total) if double else total
        scaled = onnx.node("Mul", [total, onnx.scalar(factor * 2.0 ** -self.shift(), double)])
        fraction = self.shift() > 0
        return onnx.rounded(scaled, fraction, self.output.fix_point, floor=fraction, double=double)


def average_factors(kernel_hw: tuple[int, int]) -> tuple[int, int]:
    """N and M: the DPU takes N / 2^M for 1 / (kh * kw).

    Fixed for five squares and for 3 x 6; else the smallest shift among those below log2(128 * kh * kw) whose rounded
    factor comes closest. Source: pytorch_nndct (nn/modules/avgpool.py), which scales 3 x 6 windows as it does 6 x 6.
    """
    known = {(3, 3): (7, 6), (5, 5): (10, 8), (6, 6): (7, 8), (7, 7): (21, 10), (14, 14): (21, 12)}
    known |= {(3, 6): (14, 8), (6, 3): (14, 8)}
    if kernel_hw in known:
        return known[kernel_hw]
    pixels = kernel_hw[0] * kernel_hw[1]
    best, difference = (0, 0), 1.0
    for shift in range(math.ceil(math.log2(pixels * 128))):
        factor = round(2**shift / pixels)
        found = abs(factor / 2**shift - 1 / pixels)
        if found < difference:
            best, difference = (factor, shift), found
    return best


def _pool(reader: Reader, op: Op) -> tuple[Step, ...]:
    kind = op.typed("type", "string")
    step = {"MAX": MaxPool, "AVG": AveragePool}.get(kind)
    if step is None:
        raise reader.unsupported(op, f"pooling of type {kind!r} is not known to this software DPU")
    kernel_hw, pad_tblr = reader.pair(op, "kernel"), reader.pads(op)
    if max(pad_tblr[:2]) >= kernel_hw[0] or max(pad_tblr[2:]) >= kernel_hw[1]:
        raise reader.unsupported(op, f"padding {list(pad_tblr)} is not smaller than the kernel {list(kernel_hw)}")
    source, output = reader.picture(op), reader.output(op)
    reader.check_span(op, [source.fix_point, output.fix_point])
    return (step(output, (source,), kernel_hw, reader.pair(op, "stride"), pad_tblr),)


READERS = {"pool-fix": _pool}
