"""Convolutions: plain, depthwise, and both transposed. A fully connected layer is a plain one in compiled files.

A transposed convolution here slides its kernel, not flipped, over the input stretched by `stride` (zeros between
pixels) and padded by kernel - 1 - pad: the definition in AMD's public operator list (xir/built_in_ops.cpp).

Compiled operators may keep the `pad_mode` of the framework's (SAME, VALID, CEIL): `pad` alone counts, as in AMD's
inference of their shapes (xir/shape_inference.cpp), and must give the shape that the tensor has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dpu.arithmetic import LEAKY_SLOPE, Activation, add_bias, finish
from dpu.exactness import plan
from dpu.operators.lookup import fused_activation
from dpu.operators.windows import convolve, convolve_depthwise, size_after, stretch
from dpu.program import Step

if TYPE_CHECKING:
    from dpu.graph import Op
    from dpu.onnx_builder import OnnxBuilder
    from dpu.program_reader import Reader

_LARGEST_KERNEL = 32  # with which one input channel's products fit float32: 32 * 32 * 128 * 128 = 2^24
_MOST_PRODUCTS = 2**20  # that make one sum: 34 bits, for which the reader's limit of positions leaves room in 64


@dataclass(frozen=True)
class Convolution(Step):
    """int8 convolution with bias and activation; bias (outputs,) or None.

    weights: (O, kh, kw, I); depthwise: (M, kh, kw, C), and input channel c by kernel m gives output channel c * M + m.
    pad_tblr of a transposed convolution is what it cuts off the full result, as ONNX and torch have it.
    """

    weights: np.ndarray
    weights_fix_point: int
    bias: np.ndarray | None
    bias_fix_point: int
    stride_hw: tuple[int, int]
    pad_tblr: tuple[int, int, int, int]
    dilation_hw: tuple[int, int]
    activation: Activation
    depthwise: bool = False
    transposed: bool = False

    def output_channels(self) -> int:
        """O, or C * M."""
        count = self.weights.shape[0]
        return count * self.weights.shape[3] if self.depthwise else count

    def output_shape(self) -> tuple[int, ...]:
        sizes = []
        for axis in (0, 1):
            pads = self.pad_tblr[2 * axis] + self.pad_tblr[2 * axis + 1]
            size, kernel = self.input.shape[1 + axis], self.weights.shape[1 + axis]
            stride, dilation = self.stride_hw[axis], self.dilation_hw[axis]
            if self.transposed:
                sizes.append((size - 1) * stride + (kernel - 1) * dilation + 1 - pads)
            else:
                sizes.append(size_after(size, pads, kernel, stride, dilation))
        return (1, *sizes, self.output_channels())

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        stride_hw, pad_tblr = self.stride_hw, self.pad_tblr
        if self.transposed:
            _, kernel_h, kernel_w, _ = self.weights.shape
            top, bottom, left, right = pad_tblr
            x, stride_hw = stretch(x, stride_hw), (1, 1)
            pad_tblr = (kernel_h - 1 - top, kernel_h - 1 - bottom, kernel_w - 1 - left, kernel_w - 1 - right)
        accumulate = convolve_depthwise if self.depthwise else convolve
        total = accumulate(x, self.weights, stride_hw, pad_tblr, self.dilation_hw)
        position = self.input.fix_point + self.weights_fix_point
        if self.bias is not None:
            total, position = add_bias(total, position, self.bias, self.bias_fix_point)
        return finish(total, position, self.output.fix_point, self.activation)

    def build(self, onnx: OnnxBuilder) -> str:
        way = plan(self)
        target = self.output.fix_point
        scale = 2.0 ** (target - self.input.fix_point - self.weights_fix_point)
        bias = np.zeros(self.output_channels())
        if self.bias is not None:
            bias = self.bias * 2.0 ** (target - self.bias_fix_point)
        leaky = self.activation == "LEAKYRELU"
        source = onnx.take(self.input)
        if way.float32:
            offset = onnx.constant((bias + way.half).astype(np.float32))
            total = self._node(onnx, source, self.weights.astype(np.float32) * np.float32(scale), offset)
            if leaky:
                total = onnx.node("LeakyRelu", [total], alpha=LEAKY_SLOPE)
            return onnx.rounded(total, leaky, target, self.activation, floor=leaky or way.shift > 0)
        total = ""
        for part, weights in self._parts(onnx, source, way.groups):
            summed = onnx.double(self._node(onnx, part, weights.astype(np.float32)))
            total = onnx.node("Add", [total, summed]) if total else summed
        total = onnx.node("Mul", [total, onnx.scalar(scale, True)])
        total = onnx.node("Add", [total, onnx.constant(bias.reshape(1, -1, 1, 1))])
        if leaky:
            total = onnx.node("Max", [total, onnx.node("Mul", [total, onnx.scalar(LEAKY_SLOPE, True)])])
        return onnx.rounded(total, True, target, self.activation, double=True)

    def _parts(
        self, onnx: OnnxBuilder, source: str, groups: tuple[tuple[int, int], ...]
    ) -> Iterator[tuple[str, np.ndarray]]:
        """For each group the input and weights whose sum stays within float32."""
        for first, end in groups:
            if self.depthwise:
                taps = np.zeros(self.weights.shape[1:3], bool)
                taps.reshape(-1)[first:end] = True
                yield source, self.weights * taps[:, :, np.newaxis]
            else:
                bounds = [onnx.integers((number,)) for number in (first, end, 1)]
                part = onnx.node("Slice", [source, *bounds]) if len(groups) > 1 else source
                yield part, self.weights[..., first:end]

    def _node(self, onnx: OnnxBuilder, source: str, weights: np.ndarray, *bias: str) -> str:
        top, bottom, left, right = self.pad_tblr
        attributes: dict[str, Any] = {
            "kernel_shape": weights.shape[1:3],
            "strides": self.stride_hw,
            "pads": (top, left, bottom, right),
            "dilations": self.dilation_hw,
            "group": weights.shape[3] if self.depthwise else 1,
        }
        if self.transposed:
            flipped = weights[:, ::-1, ::-1].transpose(3, 0, 1, 2)  # (I, O, kh, kw), depthwise (C, M, kh, kw)
            return onnx.node("ConvTranspose", [source, onnx.constant(flipped), *bias], **attributes)
        if self.depthwise:
            weights = weights.transpose(3, 0, 1, 2).reshape(-1, 1, *weights.shape[1:3])  # (C * M, 1, kh, kw)
        else:
            weights = weights.transpose(0, 3, 1, 2)  # (O, I, kh, kw)
        return onnx.node("Conv", [source, onnx.constant(weights), *bias], **attributes)


def _read(reader: Reader, op: Op, depthwise: bool, transposed: bool) -> tuple[Step, ...]:
    source = reader.picture(op)
    weights, weights_fix_point = _weights(reader, op, source.shape[3], depthwise)
    dilation_hw = reader.pair(op, "dilation", (1, 1))
    if transposed and dilation_hw != (1, 1):
        raise reader.unsupported(op, "for a dilated transposed convolution AMD's public rules contradict each other")
    output = reader.output(op)
    bias = reader.constant(op, "bias")
    rounded, activation, after = fused_activation(reader, op, output)
    step = Convolution(
        rounded,
        (source,),
        weights,
        weights_fix_point,
        bias[0] if bias else None,
        bias[1] if bias else 0,
        reader.pair(op, "stride"),
        reader.pads(op),
        dilation_hw,
        activation,
        depthwise,
        transposed,
    )
    if step.bias is not None and step.bias.shape != (step.output_channels(),):
        raise reader.unsupported(op, f"bias {list(step.bias.shape)} does not fit {step.output_channels()} outputs")
    position = source.fix_point + weights_fix_point
    reader.check_span(op, [position, rounded.fix_point, *([bias[1]] if bias else [])])
    return (step, *after)


def _weights(reader: Reader, op: Op, channels: int, depthwise: bool) -> tuple[np.ndarray, int]:
    found = reader.constant(op, "weights")
    if found is None or found[0].ndim != 4:
        raise reader.unsupported(op, "its weights must be one int8 constant of shape (O, kh, kw, I)")
    weights = found[0]
    kernel_hw, group = reader.pair(op, "kernel"), op.typed("group", "int32", 1)
    if group != 1 or weights.shape[1:] != (*kernel_hw, channels):
        raise reader.unsupported(
            op,
            f"weights {list(weights.shape)} with kernel {list(kernel_hw)} and group {group} do not fit {channels} "
            "input channels (the DPU has no grouped convolution)",
        )
    if not depthwise and max(kernel_hw) > _LARGEST_KERNEL:
        raise reader.unsupported(op, f"kernel {list(kernel_hw)} is larger than {_LARGEST_KERNEL}; the DPU's end at 16")
    if (1 if depthwise else channels) * kernel_hw[0] * kernel_hw[1] > _MOST_PRODUCTS:
        raise reader.unsupported(op, f"weights {list(weights.shape)} make sums of more than {_MOST_PRODUCTS} products")
    return found


READERS = {
    "conv2d-fix": partial(_read, depthwise=False, transposed=False),
    "depthwise-conv2d-fix": partial(_read, depthwise=True, transposed=False),
    "transposed-conv2d-fix": partial(_read, depthwise=False, transposed=True),
    "transposed-depthwise-conv2d-fix": partial(_read, depthwise=True, transposed=True),
}
