"""What one layer asks of a DPU: cycles of its engines, bytes to and from the memory, lanes left empty.

Engine sizes, on-chip banks and channel augmentation: Xilinx/Vitis-AI (Apache-2.0), target descriptions of DPUCZDX8G.
How the closed compiler tiles and fuses is not public: docs/latency.md states what is assumed here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from dpu.architecture import Architecture
from dpu.errors import UnsupportedModelError

KINDS = (
    *("conv", "depthwise", "deconv", "fc", "pool", "reduce", "add", "mul", "hard-sigmoid"),  # an engine works
    *("upsample", "pad", "slice"),  # moved by load and save
    *("concat", "reshape"),  # free: parts are written in place, a view changes nothing
)
FREE = frozenset(("concat", "reshape"))
ALIGNMENT = 16  # channels in memory
ALU_ROWS = 4
MAX_SIDE = 1 << 16
MAX_BYTES = 1 << 31  # one map; the boards have 2 GB and more


@dataclass(frozen=True)
class Layer:
    """One layer as the DPU sees it; shapes are (height, width, channels), an activation belongs to its layer.

    A `conv` with as many groups as channels is depthwise, a `deconv` (transposed convolution) likewise. A pool or
    reduction from many pixels to one needs no kernel: it covers the map. `fc` takes all its input's elements.
    """

    name: str
    kind: str
    in_hwc: tuple[int, int, int]
    out_hwc: tuple[int, int, int]
    kernel_hw: tuple[int, int] = (1, 1)
    stride: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnsupportedModelError(
                f"layer {self.name!r}: expected a kind out of {', '.join(KINDS)}, found {self.kind!r}. "
                "Correct the table."
            )
        sides = (*self.in_hwc[:2], *self.out_hwc[:2], *self.kernel_hw, self.stride)
        channels = (self.in_hwc[2], self.out_hwc[2], self.groups)
        if min(*sides, *channels) < 1:
            raise UnsupportedModelError(f"layer {self.name!r}: expected sizes of at least 1, found {self}. Correct it.")
        if max(sides) > MAX_SIDE or max(math.prod(self.in_hwc), math.prod(self.out_hwc), self.groups) > MAX_BYTES:
            raise UnsupportedModelError(
                f"layer {self.name!r}: expected sides up to {MAX_SIDE} and maps that fit a board's memory, found "
                f"{self}. Correct it."
            )
        if self.groups > 1 and (self.in_hwc[2] % self.groups or self.out_hwc[2] % self.groups):
            raise UnsupportedModelError(
                f"layer {self.name!r}: expected channels that {self.groups} groups divide, found {self.in_hwc[2]} in, "
                f"{self.out_hwc[2]} out. Correct it."
            )


@dataclass(frozen=True)
class Work:
    """What a layer asks for: `passed_bytes` are those of maps that may stay on the chip, at least in part."""

    cycles: int
    streamed_bytes: int
    passed_bytes: int
    lane_use: float


@lru_cache(maxsize=1 << 16)
def work_of(layer: Layer, arch: Architecture, isa: int = 1) -> Work:
    """The work of a layer on one size of DPU; `isa` 0 is the DPU of Vitis AI up to 2.0."""
    if layer.kind in FREE:
        return Work(0, 0, 0, _filled(layer.out_hwc[2], arch.output_channels))
    if layer.kind == "fc":
        as_one_pixel = replace(layer, in_hwc=(1, 1, math.prod(layer.in_hwc)), kernel_hw=(1, 1))
        return _matrix_work(as_one_pixel, arch, (1, 1))
    if layer.kind in ("conv", "deconv") and not _is_depthwise(layer):
        return _matrix_work(layer, arch, _computed_kernel_hw(layer))
    return _channelwise_work(layer, arch, isa)


def _computed_kernel_hw(layer: Layer) -> tuple[int, int]:
    """A transposed convolution's zeros between the pixels are not computed."""
    step = layer.stride if layer.kind == "deconv" else 1
    return math.ceil(layer.kernel_hw[0] / step), math.ceil(layer.kernel_hw[1] / step)


def _is_depthwise(layer: Layer) -> bool:
    return layer.groups > 1 and layer.groups == layer.in_hwc[2]


def _filled(channels: int, lanes: int) -> float:
    return channels / (math.ceil(channels / lanes) * lanes)


def _matrix_work(layer: Layer, arch: Architecture, computed_kernel_hw: tuple[int, int]) -> Work:
    """Layers of the convolution engine. Groups run one after the other, each with its own unfilled lanes."""
    kernel_h, kernel_w = computed_kernel_hw
    groups, lanes = layer.groups, arch.input_channels
    depth, filters = layer.in_hwc[2] // groups, layer.out_hwc[2] // groups
    height, width, _ = layer.out_hwc
    if (
        layer.kind == "conv" and depth <= lanes // 2
    ):  # few channels: kernel columns are folded into the lanes, up to twice their number
        lanes *= 2
        taps = math.ceil(depth * kernel_w / lanes) * kernel_h
        columns = depth
    else:
        taps = math.ceil(depth / lanes) * kernel_h * kernel_w
        columns = _aligned(depth)
    filter_groups = math.ceil(filters / arch.output_channels)
    cycles = groups * math.ceil(height / arch.pixels) * width * filter_groups * taps
    lane_use = depth * kernel_h * kernel_w / (taps * lanes) * filters / (filter_groups * arch.output_channels)

    source = groups * columns * layer.in_hwc[0] * layer.in_hwc[1]
    weights = groups * math.prod(layer.kernel_hw) * columns * _aligned(filters)
    target = groups * height * width * _aligned(filters)
    passed = target if target <= arch.feature_bytes else 0
    streamed = weights + target - passed
    if source <= arch.feature_bytes:
        passed += source
    else:  # whichever is cheaper is read again and again while the other stays
        streamed += min(
            source * math.ceil(weights / arch.weight_bytes),
            source + weights * (math.ceil(source / arch.feature_bytes) - 1),
        )
    return Work(cycles, streamed, passed, lane_use)


def _channelwise_work(layer: Layer, arch: Architecture, isa: int) -> Work:
    """Layers of the other engines, where an output channel needs its own input channel only."""
    height, width, channels = layer.out_hwc
    groups = math.ceil(channels / arch.output_channels)
    rows = min(ALU_ROWS, arch.pixels)
    taps = math.prod(layer.kernel_hw)
    weights = 0
    if layer.kind in ("pool", "reduce"):
        if taps == 1 and (height, width) == (1, 1):
            taps = layer.in_hwc[0] * layer.in_hwc[1]
    elif layer.kind in ("depthwise", "conv", "deconv"):
        weights = taps * _aligned(channels)
        if layer.kind == "deconv":
            taps = math.prod(_computed_kernel_hw(layer))
    elif layer.kind in ("add", "mul"):
        rows = rows if isa else 1
    cycles = math.ceil(height / rows) * width * groups * taps
    if layer.kind in ("upsample", "pad", "slice"):
        cycles = 0
    source = layer.in_hwc[0] * layer.in_hwc[1] * _aligned(layer.in_hwc[2])
    target = height * width * _aligned(channels)
    inputs = 2 if layer.kind in ("add", "mul") else 1
    passed = inputs * source * (source <= arch.feature_bytes) + target * (target <= arch.feature_bytes)
    streamed = weights + inputs * source + target - passed
    return Work(cycles, streamed, passed, _filled(channels, arch.output_channels))


def _aligned(channels: int) -> int:
    return -(-channels // ALIGNMENT) * ALIGNMENT
