"""What an operator asks beyond the limits of a DPUCZDX8G of a given size and instruction set.

Source: the target descriptions in Xilinx/Vitis-AI (Apache-2.0), branches 2.0 to 3.5, and AMD's UG1414, "Currently
Supported Operators". C is the DPU's input channels in parallel (16 for B4096):

    convolution      kernel 1-16, stride 1-8, kernel area * ceil(channels / C) <= 2048, dilation * channels <= 256 * C,
                     padding below the dilated kernel, one group; transposed: kernel / stride 1-16
    depthwise, pool  ISA 1: kernel and stride 1-256, padding left and top 0-15, right and bottom 0-255;
                     ISA 0: depthwise kernel 1-16, pool kernel 1-8, stride 1-8
    all              at most 256 * C channels in and out
    activations      convolution ReLU, ReLU6, leaky ReLU with slope 26/256 if built in, ISA 1 hsigmoid and hswish;
                     depthwise the same, leaky only if built in (not in AMD's images); elementwise ReLU
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpu.architecture import Architecture, Fingerprint
from dpu.arithmetic import LEAKY_SLOPE
from dpu.graph import Graph, Op

_CONVOLUTIONS = ("conv2d", "transposed-conv2d")
_DEPTHWISE = ("depthwise-conv2d", "transposed-depthwise-conv2d")
_POOLS = {"pool": "", "maxpool2d": "MAX", "avgpool2d": "AVG"}
_ELEMENTWISE = {"eltwise": "", "depthwise": "MUL", "add": "ADD", "mul": "MUL"}
_ACTIVATIONS = {"relu": "RELU", "relu6": "RELU6", "leaky-relu": "LEAKYRELU", "hsigmoid": "HSIGMOID", "hswish": "HSWISH"}


@dataclass(frozen=True)
class Target:
    """The DPU that limits are held against."""

    architecture: Architecture
    isa: int = 1
    conv_leaky: bool = True
    depthwise_leaky: bool = False

    @classmethod
    def of(cls, architecture: Architecture, fingerprint: Fingerprint | None) -> Target:
        """The target of a size with the features that a fingerprint tells; those of AMD's images where it does not."""
        if fingerprint is None:
            return cls(architecture)
        return cls(
            architecture, fingerprint.isa, fingerprint.conv_leaky is not False, bool(fingerprint.depthwise_leaky)
        )


def limits_exceeded(graph: Graph, names: set[str], target: Target) -> list[tuple[Op, str]]:
    """Every operator out of `names` that the target cannot run, each with every reason why."""
    ops = graph.op_by_name()
    readers = graph.consumers()
    found = []
    for op in graph.ops:
        if op.name in names:
            sources = [ops[name].output.shape for name in op.inputs.get("input", [])]
            following = readers[op.name][0] if len(readers[op.name]) == 1 else None
            found += [(op, why) for why in _Limits(op, sources, following, target).exceeded()]
    return found


class _Limits:
    def __init__(self, op: Op, sources: list[tuple[int, ...]], following: Op | None, target: Target) -> None:
        self.op, self.target = op, target
        self.kind = op.type.removesuffix("-fix")
        self.lanes = target.architecture.input_channels
        self.channels_in = max((shape[-1] for shape in sources if len(shape) == 4), default=0)
        self.channels_out = op.output.shape[-1] if len(op.output.shape) == 4 else 0
        self.kernel = self._ints("kernel", 2) or (1, 1)  # w, h
        self.stride = self._ints("stride", 2) or (1, 1)
        self.pad = self._ints("pad", 4) or (0, 0, 0, 0)  # left, right, top, bottom
        self.dilation = self._ints("dilation", 2) or (1, 1)
        self.slope: float | None = None
        self.activation = str(op.value("nonlinear", "") or "NONE")
        if following is not None and following.type in _ACTIVATIONS:
            self.activation = _ACTIVATIONS[following.type]
            alpha = following.value("alpha")
            self.slope = alpha if isinstance(alpha, float) else None

    def exceeded(self) -> Iterator[str]:
        if self.kind in _CONVOLUTIONS:
            yield from self._convolution()
        elif self.kind in _DEPTHWISE:
            yield from self._window("depthwise", 16)
        elif self.kind in _POOLS:
            yield from self._window("pooling", 8)
        elif self.kind in _ELEMENTWISE:
            if self.target.isa == 0 and (_ELEMENTWISE[self.kind] or self.op.value("type", "ADD")) != "ADD":
                yield "multiplies; a DPU of ISA 0 only adds element-wise"
        else:
            return
        most = 256 * self.lanes
        for way, channels in (("in", self.channels_in), ("out", self.channels_out)):
            if channels > most:
                yield f"has {channels} channels {way}, the most is {most}"
        yield from self._activation()

    def _convolution(self) -> Iterator[str]:
        transposed = self.kind.startswith("transposed")
        kernel = tuple(-(-k // max(s, 1)) for k, s in zip(self.kernel, self.stride, strict=True))
        yield from _outside("kernel / stride" if transposed else "kernel", kernel if transposed else self.kernel, 1, 16)
        if not transposed:
            yield from _outside("stride", self.stride, 1, 8)
            reach = [(k - 1) * d for k, d in zip(self.kernel, self.dilation, strict=True)]
            if max(self.pad[:2]) > reach[0] or max(self.pad[2:]) > reach[1]:
                yield f"pads by {list(self.pad)} (left, right, top, bottom), the most is {reach} (sides, ends)"
        if min(self.pad) < 0:
            yield f"pads by {list(self.pad)}, which is below 0"
        rows = self.kernel[0] * self.kernel[1] * -(-self.channels_in // self.lanes)
        if rows > 2048:
            yield (
                f"needs {rows} rows of the weight banks (kernel {self.kernel[0]}x{self.kernel[1]} * ceil("
                f"{self.channels_in} channels / {self.lanes})), there are 2048"
            )
        if max(self.dilation) > 1 and max(self.dilation) * self.channels_in > 256 * self.lanes:
            yield f"has dilation {max(self.dilation)} * {self.channels_in} channels, the most is {256 * self.lanes}"
        group = self.op.value("group", 1)
        if group != 1:
            yield f"has {group} groups, the DPU has only 1"

    def _window(self, what: str, widest_isa0: int) -> Iterator[str]:
        isa1 = self.target.isa >= 1
        yield from _outside(f"{what} kernel", self.kernel, 1, 256 if isa1 else widest_isa0)
        yield from _outside(f"{what} stride", self.stride, 1, 256 if isa1 else 8)
        if isa1 and self.kind != "transposed-depthwise-conv2d":
            yield from _outside("left and top padding", (self.pad[0], self.pad[2]), 0, 15)
            yield from _outside("right and bottom padding", (self.pad[1], self.pad[3]), 0, 255)

    def _activation(self) -> Iterator[str]:
        if self.activation in ("NONE", "RELU"):
            return
        if self.kind not in (*_CONVOLUTIONS, *_DEPTHWISE):
            yield f"is followed by {self.activation}, which the DPU has after convolutions only"
        elif self.activation == "LEAKYRELU":
            depthwise = self.kind in _DEPTHWISE
            if not (self.target.depthwise_leaky if depthwise else self.target.conv_leaky):
                where = "depthwise convolutions" if depthwise else "convolutions"
                yield f"is followed by LEAKYRELU, which this DPU was built without for {where}"
            if self.slope is not None and self.slope != LEAKY_SLOPE:
                yield f"has a leaky slope of {self.slope:g}, the DPU has only 26/256 = {LEAKY_SLOPE}"
        elif self.activation in ("HSIGMOID", "HSWISH"):
            if self.target.isa == 0:
                yield f"is followed by {self.activation}, which a DPU of ISA 0 has not"
        elif self.activation != "RELU6":
            yield f"is followed by {self.activation[:40]}, which the DPU has not"

    def _ints(self, key: str, count: int) -> tuple[int, ...] | None:
        value = self.op.value(key)
        sound = isinstance(value, tuple) and len(value) == count and all(isinstance(v, int) for v in value)
        return value if sound else None


def _outside(what: str, values: tuple[int, ...], least: int, most: int) -> Iterator[str]:
    if not all(least <= value <= most for value in values):
        yield f"has {what} {list(values)}, possible is {least} to {most}"
