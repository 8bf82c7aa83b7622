"""How long a network takes on a DPU: predicted layer by layer, without a board.

A layer takes the larger of its compute time and its memory traffic, plus an overhead. Compute: rows are processed 8 at
a time and channels 16 at a time (B4096), so unfilled lanes cost as much as filled ones. Traffic: maps with channels
padded; weights beyond the on-chip banks make the input stream again, or the other way round, whichever is cheaper;
maps that fit a bank group partly stay on chip (`dpu.layer_cost`). Several cores share the memory.

The constants are fitted on the figures AMD publishes for ZCU104 and KV260, all of B4096 at 300 MHz. Leaving out one
network at a time, the mean error is 3.1 % for one core, 4.4 % for the frames of two cores and 5.7 % for the end-to-end
time of one thread; docs/latency.md has every network, those that nothing was fitted on, and the limits.

Every result is `predicted`; nothing here was measured on a board.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dpu import architecture
from dpu.architecture import Architecture, Board
from dpu.errors import UnsupportedModelError
from dpu.graph import Graph
from dpu.layer_cost import FREE, KINDS, Layer, work_of

__all__ = [
    "FITTED",
    "KINDS",
    "Constants",
    "Layer",
    "LayerTime",
    "Prediction",
    "conv_ms",
    "layer_time",
    "layers_of_graph",
    "predict",
]


@dataclass(frozen=True)
class Constants:
    """What is fitted. Times in microseconds or milliseconds, bandwidths in bytes a nanosecond (GB/s)."""

    overhead_us: float
    bandwidth: float
    compute_share: float
    resident_share: float
    isa0_bandwidth_share: float
    memory_bandwidth: float
    cpu_base_ms: float
    cpu_ms_per_megapixel: float
    cpu_detection_ms: float
    cpu_ms_per_million_scores: float


FITTED = Constants(
    overhead_us=7.137,
    bandwidth=7.879,
    compute_share=0.9953,
    resident_share=0.858,
    isa0_bandwidth_share=0.8452,
    memory_bandwidth=12.34,
    cpu_base_ms=0.1166,
    cpu_ms_per_megapixel=8.642,
    cpu_detection_ms=2.394,
    cpu_ms_per_million_scores=5.848,
)

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
    dpu: str
    isa: int
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
        keys = ("board", "dpu", "isa", "dpu_mhz", "cores", "dpu_ms", "end_to_end_ms_one_thread", "fps_all_cores")
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
    task: str = "detection",
    constants: Constants = FITTED,
    isa: int = 1,
) -> Prediction:
    """The predicted times of a network.

    Args:
        layers: in order; the first one's input is the picture.
        board: a board's name, or one of your own (other size, clock, cores).
        task: what the processor does after the DPU, part of the end-to-end time. A `detection` is decoded; for a
            `segmentation` the best class of the last layer's pixels is looked for; any other task asks little.
        isa: 0 for the DPU of Vitis AI up to 2.0, 1 for later ones.
    Raises:
        UnsupportedModelError: no layers, or none that takes time.
        UnknownBoardError: no board of that name.
    """
    if not layers:
        raise UnsupportedModelError("expected a network with layers, found none. Give a model that the DPU can run.")
    on = architecture.board(board) if isinstance(board, str) else board
    alone = [layer_time(layer, on.architecture, on.mhz, constants, isa) for layer in layers]
    dpu_ms = sum(layer.ms for layer in alone)
    if not dpu_ms:
        raise UnsupportedModelError(
            f"expected a network with layers that take time, found only {', '.join(sorted({x.kind for x in layers}))}. "
            "Give a model that the DPU works for."
        )
    slowdown = max(1.0, on.cores * _bandwidth(constants, isa) / constants.memory_bandwidth)
    shared_ms = dpu_ms + sum(
        max(0.0, slowdown * layer.memory_ms - max(layer.compute_ms, layer.memory_ms)) for layer in alone
    )
    height, width, _ = layers[0].in_hwc
    cpu_ms = constants.cpu_base_ms + constants.cpu_ms_per_megapixel * height * width / 1e6
    if task == "detection":
        cpu_ms += constants.cpu_detection_ms
    elif task == "segmentation":
        cpu_ms += constants.cpu_ms_per_million_scores * math.prod(layers[-1].out_hwc) / 1e6
    return Prediction(
        on.name,
        on.architecture.name,
        isa,
        on.mhz,
        on.cores,
        dpu_ms,
        dpu_ms + cpu_ms,
        1000.0 * on.cores / shared_ms,
        dpu_ms * BAND[0],
        dpu_ms * BAND[1],
        tuple(alone),
    )


def layer_time(layer: Layer, arch: Architecture, mhz: float, constants: Constants = FITTED, isa: int = 1) -> LayerTime:
    """A layer's time on one core that has the memory for itself."""
    work = work_of(layer, arch, isa)
    compute_ms = work.cycles / (mhz * 1e3 * constants.compute_share)
    traffic = work.streamed_bytes + work.passed_bytes * constants.resident_share
    memory_ms = traffic / (_bandwidth(constants, isa) * 1e6)
    bound = "compute" if compute_ms >= memory_ms else "memory"
    overhead_ms = 0.0 if layer.kind in FREE else constants.overhead_us / 1e3
    ms = max(compute_ms, memory_ms) + overhead_ms
    return LayerTime(layer.name, layer.kind, ms, bound, work.lane_use, compute_ms, memory_ms)


def _bandwidth(constants: Constants, isa: int) -> float:
    return constants.bandwidth * (1.0 if isa else constants.isa0_bandwidth_share)


def conv_ms(layer: Layer, in_channels: int, out_channels: int, board: str | Board = "zcu104", isa: int = 1) -> float:
    """A layer's time with other numbers of channels: an entry of a cost table, some ten microseconds to ask.

    A layer with as many groups as channels stays one.
    """
    on = architecture.board(board) if isinstance(board, str) else board
    groups = in_channels if layer.groups == layer.in_hwc[2] > 1 else layer.groups
    in_hwc, out_hwc = (*layer.in_hwc[:2], in_channels), (*layer.out_hwc[:2], out_channels)
    other = replace(layer, in_hwc=in_hwc, out_hwc=out_hwc, groups=groups)
    return layer_time(other, on.architecture, on.mhz, isa=isa).ms


def layers_of_graph(graph: Graph) -> list[Layer]:
    """The layers of an xmodel, quantised or compiled: what its DPU subgraphs do. Raises UnsupportedModelError."""
    from dpu.graph_layers import layers_of_integer_graph
    from dpu.lowering import is_quantised, lower

    return layers_of_integer_graph(lower(graph) if is_quantised(graph) else graph)
