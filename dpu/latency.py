"""How long a network takes on a DPU: predicted layer by layer, without a board.

A layer takes the larger of its compute time and its memory traffic, plus an overhead. Compute: rows are processed 8 at
a time and channels 16 at a time (B4096), so unfilled lanes cost as much as filled ones. Traffic: maps with channels
padded to the lanes; weights beyond the on-chip banks make the input stream again, or the other way round, whichever
is cheaper; maps that fit a bank group partly stay on chip. A concat costs nothing: its parts are written in place.

Eight constants are fitted on the figures AMD publishes for ZCU104 and KV260 (shared data `zcu104/networks.json`, 22
networks, 2 of them limited by the CPU; `scripts/fit_latency_model.py` prints what is stated here). Leaving out one
architecture at a time, the mean error is 4.3 % for one core (worst 13.8 %, a MobileNet), 5.2 % for the frames of two
cores and 7.0 % for the end-to-end time of one thread (worst 46 %, an old squeezenet whose time is all CPU).
AMD's own figures for equal layers differ by up to 9 % between compiler generations.

Every result is `predicted`; nothing here was measured on a board.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dpu import architecture
from dpu.architecture import Architecture, Board
from dpu.errors import UnsupportedModelError
from dpu.graph import Graph
from dpu.lowering import is_quantised, lower

KINDS = ("conv", "depthwise", "pool", "add", "fc", "upsample", "concat")


@dataclass(frozen=True)
class Layer:
    """One layer as the DPU sees it; shapes are (height, width, channels), an activation belongs to its layer."""

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
        if min(*self.in_hwc, *self.out_hwc, *self.kernel_hw, self.stride, self.groups) < 1:
            raise UnsupportedModelError(f"layer {self.name!r}: expected sizes of at least 1, found {self}. Correct it.")


@dataclass(frozen=True)
class Constants:
    """What is fitted. Times in microseconds or milliseconds, bandwidth in bytes a nanosecond (GB/s)."""

    overhead_us: float
    bandwidth: float
    compute_share: float
    resident_share: float
    two_core_bandwidth: float
    cpu_base_ms: float
    cpu_ms_per_megapixel: float
    cpu_detection_ms: float


FITTED = Constants(6.905, 7.868, 0.9769, 0.8433, 0.795, 0.108, 12.84, 1.355)

# 5 % and 95 % of published / predicted one-core time over the left-out networks.
BAND = (0.92, 1.08)


@dataclass(frozen=True)
class LayerTime:
    """A layer's predicted time on one core, alone."""

    name: str
    kind: str
    ms: float
    bound: str
    lane_use: float
    compute_ms: float
    memory_ms: float


@dataclass(frozen=True)
class Prediction:
    """A network's predicted times; `low_ms` and `high_ms` are the band of `dpu_ms`."""

    board: str
    dpu_mhz: float
    cores: int
    dpu_ms: float
    end_to_end_ms_one_thread: float
    fps_all_cores: float
    low_ms: float
    high_ms: float
    layers: tuple[LayerTime, ...]
    origin: str = "predicted"

    def document(self, name: str) -> dict[str, object]:
        """The fields of `predict --json`, less the versions."""
        keys = ("board", "dpu_mhz", "cores", "dpu_ms", "end_to_end_ms_one_thread", "fps_all_cores")
        layer_keys = ("name", "kind", "ms", "bound", "lane_use")
        return {
            "name": name,
            **{key: getattr(self, key) for key in (*keys, "low_ms", "high_ms", "origin")},
            "layers": [{key: getattr(layer, key) for key in layer_keys} for layer in self.layers],
        }


def predict(
    layers: Sequence[Layer],
    board: str | Board = "zcu104",
    *,
    detection: bool = True,
    constants: Constants = FITTED,
    isa: int = 1,
) -> Prediction:
    """The predicted times of a network.

    Args:
        layers: in order; the first one's input is the picture.
        board: a board's name, or one of your own (other size, clock, cores).
        detection: whether end-to-end time holds a detector's decoding (AMD's C++ Library way of measuring).
    Raises:
        UnsupportedModelError: no layers.
        UnknownBoardError: no board of that name.
    """
    if not layers:
        raise UnsupportedModelError("expected a network with layers, found none. Give a model that the DPU can run.")
    on = architecture.board(board) if isinstance(board, str) else board
    alone = [layer_time(layer, on.architecture, on.mhz, constants, isa) for layer in layers]
    dpu_ms = sum(layer.ms for layer in alone)
    shared_ms = dpu_ms
    if on.cores > 1:
        shared = constants.bandwidth * constants.two_core_bandwidth ** (on.cores - 1)
        shared_ms = sum(layer_time(layer, on.architecture, on.mhz, constants, isa, shared).ms for layer in layers)
    height, width, _ = layers[0].in_hwc
    cpu_ms = constants.cpu_base_ms + constants.cpu_ms_per_megapixel * height * width / 1e6
    cpu_ms += constants.cpu_detection_ms if detection else 0.0
    return Prediction(
        on.name,
        on.mhz,
        on.cores,
        dpu_ms,
        dpu_ms + cpu_ms,
        1000.0 * on.cores / shared_ms,
        dpu_ms * BAND[0],
        dpu_ms * BAND[1],
        tuple(alone),
    )


def layer_time(
    layer: Layer, arch: Architecture, mhz: float, constants: Constants, isa: int = 1, bandwidth: float | None = None
) -> LayerTime:
    """A layer's time on one core; `bandwidth` in bytes a nanosecond where other cores take their part."""
    compute_ms = cycles(layer, arch, isa) / (mhz * 1e3 * constants.compute_share)
    memory_ms = traffic(layer, arch, constants.resident_share) / ((bandwidth or constants.bandwidth) * 1e6)
    bound = "compute" if compute_ms >= memory_ms else "memory"
    ms = max(compute_ms, memory_ms) + (constants.overhead_us / 1e3 if layer.kind != "concat" else 0.0)
    return LayerTime(layer.name, layer.kind, ms, bound, lane_use(layer, arch), compute_ms, memory_ms)


def _augmented(layer: Layer, arch: Architecture) -> bool:
    """The first layer's few channels: kernel columns are folded into the lanes, up to twice their number."""
    return layer.kind == "conv" and layer.in_hwc[2] <= arch.input_channels // 2


def _taps(layer: Layer, arch: Architecture) -> int:
    """Cycles for one output pixel group: input channel groups times kernel positions."""
    kernel_h, kernel_w = layer.kernel_hw
    depth = layer.in_hwc[2] // layer.groups
    if _augmented(layer, arch):
        return math.ceil(depth * kernel_w / (2 * arch.input_channels)) * kernel_h
    return math.ceil(depth / arch.input_channels) * kernel_h * kernel_w


def cycles(layer: Layer, arch: Architecture, isa: int = 1) -> int:
    """Cycles of the computing engines, padding included; 0 for what is only moved (upsample, concat)."""
    height, width, channels = layer.out_hwc
    kernel_h, kernel_w = layer.kernel_hw
    groups = math.ceil(channels / arch.output_channels)
    if layer.kind in ("conv", "fc"):
        return math.ceil(height / arch.pixels) * width * groups * _taps(layer, arch)
    if layer.kind in ("depthwise", "pool"):
        return math.ceil(height / 4) * width * groups * kernel_h * kernel_w
    if layer.kind == "add":
        return math.ceil(height / (4 if isa else 1)) * width * groups
    return 0


def traffic(layer: Layer, arch: Architecture, resident_share: float) -> float:
    """Bytes to and from the memory, channels padded to the lanes."""

    if layer.kind == "concat":
        return 0.0

    def padded(channels: int) -> int:
        return math.ceil(channels / arch.input_channels) * arch.input_channels

    def passed(map_bytes: float) -> float:
        return map_bytes * (resident_share if map_bytes <= arch.feature_bytes else 1.0)

    depth = layer.in_hwc[2] if _augmented(layer, arch) else padded(layer.in_hwc[2])
    source = float(layer.in_hwc[0] * layer.in_hwc[1] * depth)
    target = float(layer.out_hwc[0] * layer.out_hwc[1] * padded(layer.out_hwc[2]))
    kernel = layer.kernel_hw[0] * layer.kernel_hw[1]
    if layer.kind in ("conv", "fc"):
        weights = float(kernel * padded(layer.in_hwc[2] // layer.groups) * padded(layer.out_hwc[2]))
        if _augmented(layer, arch):
            weights = float(kernel * layer.in_hwc[2] * padded(layer.out_hwc[2]))
        again_source = source * math.ceil(weights / arch.weight_bytes) + weights
        again_weights = source + weights * math.ceil(source / arch.feature_bytes)
        if source <= arch.feature_bytes:
            return passed(source) + weights + passed(target)
        return min(again_source, again_weights) + passed(target)
    if layer.kind == "depthwise":
        return passed(source) + kernel * padded(layer.in_hwc[2]) + passed(target)
    if layer.kind == "add":
        return 2 * passed(source) + passed(target)
    return passed(source) + passed(target)


def lane_use(layer: Layer, arch: Architecture) -> float:
    """The share of channel lanes that do useful work, 0 to 1."""
    channels = layer.out_hwc[2]
    used = channels / (math.ceil(channels / arch.output_channels) * arch.output_channels)
    if layer.kind in ("conv", "fc"):
        kernel = layer.kernel_hw[0] * layer.kernel_hw[1]
        depth = layer.in_hwc[2] // layer.groups
        width = 2 * arch.input_channels if _augmented(layer, arch) else arch.input_channels
        used *= depth * kernel / (_taps(layer, arch) * width)
    return used


def layers_of_graph(graph: Graph) -> list[Layer]:
    """The layers of an xmodel, quantised or compiled: what its DPU subgraphs do. Raises UnsupportedModelError."""
    from dpu.graph_layers import layers_of_integer_graph

    return layers_of_integer_graph(lower(graph) if is_quantised(graph) else graph)
