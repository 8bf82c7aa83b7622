"""`roadslim predict`: where a network's layers come from, and how its predicted time is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bench.run_folders import advice_for, quantize_stage
from board_app.core.bundle import load_bundle
from board_app.core.errors import InputError, UsageError
from compress.bundle_of_stage import find_bundle
from dpu import architecture
from dpu.architecture import ARCHITECTURES, Board
from dpu.errors import UnsupportedModelError
from dpu.latency import Layer, LayerTime, Prediction, predict
from dpu.summary_text import shortened


@dataclass(frozen=True)
class Network:
    """What the latency model is asked about; `isa` 0 is the DPU of Vitis AI 2.0."""

    name: str
    layers: tuple[Layer, ...]
    task: str = "detection"
    isa: int = 1
    note: str = ""

    def predict(self, board: str | Board) -> Prediction:
        """Its predicted time."""
        return predict(self.layers, board, task=self.task, isa=self.isa)


MOST_CORES = 4  # of one DPUCZDX8G block
MHZ = (10.0, 1000.0)


def board_of(name: str, dpu: str | None = None, mhz: float | None = None, cores: int | None = None) -> Board:
    """A board by name, with another DPU size, clock or number of cores where they are given.

    Raises:
        UnknownBoardError: no board of that name.
        UsageError: a size that does not exist, or a clock or a number of cores that no such DPU has.
    """
    board = architecture.board(name)
    if (dpu, mhz, cores) == (None, None, None):
        return board
    if dpu is not None and dpu not in ARCHITECTURES:
        raise UsageError(f"--dpu: expected one of {', '.join(ARCHITECTURES)}, found {dpu!r}. Choose one of them.")
    if mhz is not None and not MHZ[0] <= mhz <= MHZ[1]:
        raise UsageError(f"--mhz: expected a clock from {MHZ[0]:g} to {MHZ[1]:g} MHz, found {mhz:g}. Correct it.")
    if cores is not None and not 1 <= cores <= MOST_CORES:
        raise UsageError(f"--cores: expected 1 to {MOST_CORES}, found {cores}. Correct it.")
    arch = ARCHITECTURES[dpu] if dpu else board.architecture
    return replace(board, architecture=arch, mhz=mhz or board.mhz, cores=cores or board.cores)


# Other names that layer tables have for the same kinds.
_OTHER_NAMES = {
    **{"transposed": "deconv", "transposed_conv": "deconv", "depthwise_conv": "depthwise", "dwconv": "depthwise"},
    **{"maxpool": "pool", "avgpool": "pool", "global_avgpool": "pool", "gap": "pool", "multiply": "mul"},
    **{"hard_sigmoid": "hard-sigmoid", "hsigmoid": "hard-sigmoid", "linear": "fc", "resize": "upsample"},
}


class _LayerRow(BaseModel):
    """One layer; a dilation may be told, the time does not depend on it."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    kind: str
    in_hwc: tuple[int, int, int]
    out_hwc: tuple[int, int, int]
    kernel_hw: tuple[int, int] = (1, 1)
    stride: int | tuple[int, int] = 1
    groups: int = 1
    dilation: int | tuple[int, int] = 1

    def layer(self, index: int) -> Layer:
        stride = self.stride if isinstance(self.stride, int) else min(self.stride)
        kind = _OTHER_NAMES.get(self.kind, self.kind)
        name = self.name or f"{self.kind}_{index}"
        return Layer(name, kind, self.in_hwc, self.out_hwc, self.kernel_hw, stride, self.groups)


class _NetworkRow(BaseModel):
    """One network of a layer table; what else a table says (published rates) is not looked at."""

    name: str
    layers: list[_LayerRow] = Field(min_length=1)
    task: str = "detection"
    isa: Literal[0, 1] = 1

    def network(self) -> Network:
        layers = tuple(row.layer(index) for index, row in enumerate(self.layers))
        return Network(self.name, layers, self.task, self.isa)


_TABLE: TypeAdapter[list[_NetworkRow]] = TypeAdapter(Annotated[list[_NetworkRow], Field(min_length=1)])


def networks_of(path: Path, size_hw: tuple[int, int] | None = None) -> list[Network]:
    """The network, or the networks of a layer table, that a path names.

    Args:
        path: a .cfg, a stage folder, an .xmodel, a .bundle, or a layer table in JSON.
        size_hw: another input size than the file's; only a cfg can have it.
    Raises:
        InputError: nothing there, or a file that is wrong.
        UsageError: a size for a file whose size is settled, or a kind of file that has no layers.
    """
    if not path.exists():
        raise InputError(f"expected a model at {path}, found nothing. Check the path.")
    if size_hw and min(size_hw) < 1:
        raise UsageError(f"--size: expected a height and a width of at least 1, found {size_hw[0]} {size_hw[1]}.")
    if path.suffix == ".cfg" or (path.is_dir() and (path / "model.cfg").is_file()):
        return [_of_cfg(path if path.is_file() else path / "model.cfg", size_hw)]
    if size_hw:
        raise UsageError(f"--size: {path} has a settled size, only a .cfg can have another. Leave --size out.")
    if path.suffix == ".json":
        return _of_table(path)
    bundle = find_bundle(path)
    if bundle is not None:
        return [_of_xmodel(load_bundle(bundle).model_path, bundle.stem)]
    if path.suffix == ".xmodel":
        return [_of_xmodel(path, path.stem)]
    stage = quantize_stage(path)
    if stage is not None:
        return [_of_xmodel(stage.xmodel, path.name)]
    found = "a folder of something else" if path.is_dir() else f"a file called *{path.suffix}"
    advice = advice_for(path) if path.is_dir() else "Name one of these"
    raise UsageError(
        f"{path}: expected a .cfg, a stage folder, .xmodel, .bundle or a layer table in JSON, found {found}. {advice}"
    )


def _of_cfg(path: Path, size_hw: tuple[int, int] | None) -> Network:
    from compress.darknet.cfg import read_cfg
    from compress.darknet.cost import dpu_layers
    from compress.darknet.dpu_hindrances import dpu_hindrances, told

    cfg = read_cfg(path)
    cfg = cfg.with_input_hw(size_hw) if size_hw else cfg
    lacking = told(hindrance for hindrance in dpu_hindrances(cfg) if not hindrance.quantises)
    note = f"not counted, since it runs on the processor: {'; '.join(lacking)}." if lacking else ""
    name = path.stem if path.stem != "model" else path.resolve().parent.name
    return Network(name, tuple(dpu_layers(cfg)), note=note)


def _of_xmodel(path: Path, name: str) -> Network:
    from dpu import xmodel
    from dpu.graph_layers import isa_of, layers_of_integer_graph, parts_of
    from dpu.lowering import is_quantised, lower

    graph = xmodel.load(path)
    if is_quantised(graph):
        graph = lower(graph)
    subgraphs, cpu_operators = parts_of(graph)
    told = [f"the sum of {subgraphs} DPU subgraphs"] if subgraphs > 1 else []
    told += [f"not counted: operators on the CPU ({cpu_operators})"] if cpu_operators else []
    layers = tuple(layers_of_integer_graph(graph))
    return Network(name, layers, isa=isa_of(graph), note="; ".join(told))


def _of_table(path: Path) -> list[Network]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a layer table in JSON, found {error}. Correct the file.") from None
    try:
        rows = _TABLE.validate_python(document if isinstance(document, list) else [document])
    except ValidationError as error:
        mistake = error.errors()[0]
        where = ".".join(map(str, mistake["loc"])) or "the top"
        said = mistake["msg"].removesuffix(" or instance of _NetworkRow").removesuffix(" or instance of _LayerRow")
        raise InputError(
            f"{path}: expected networks with `name` and `layers` (kind, in_hwc, out_hwc, kernel_hw, stride), "
            f"found at {where}: {said.lower()}. Correct the file."
        ) from None
    try:
        return [row.network() for row in rows]
    except UnsupportedModelError as error:
        raise InputError(f"{path}: {error}") from None


def chosen(networks: Sequence[Network], name: str | None) -> list[Network]:
    """The network of that name, or all of them.

    Raises:
        UsageError: there is none of that name.
    """
    found = [network for network in networks if name in (None, network.name)]
    if not found:
        names = ", ".join(network.name for network in networks)
        raise UsageError(f"--name: expected one of {names}, found {name!r}. Choose one of them.")
    return found


def document_of(networks: Sequence[Network], board: str | Board) -> dict[str, Any]:
    """The JSON of one network, or `networks` where there are several."""
    documents = [
        {**network.predict(board).document(network.name), "task": network.task, "note": network.note}
        for network in networks
    ]
    return documents[0] if len(documents) == 1 else {"networks": documents}


def text_of(network: Network, prediction: Prediction, with_layers: bool) -> str:
    """A prediction for people."""
    layers = prediction.layers
    compute = sum(layer.ms for layer in layers if layer.bound == "compute")
    low, high, end_to_end_ms = prediction.low_ms, prediction.high_ms, prediction.end_to_end_ms_one_thread
    cores = f"{prediction.cores} core{'s' * (prediction.cores > 1)}"
    lines = [
        f"{network.name} on {prediction.board} ({prediction.dpu}, {prediction.dpu_mhz:g} MHz, {cores}), predicted:",
        f"  DPU, one core            {prediction.dpu_ms:8.2f} ms   ({low:.2f} to {high:.2f})",
        f"  end to end, one thread   {end_to_end_ms:8.2f} ms   (a {network.task}, as AMD's C++ library measures)",
        f"  all cores                {prediction.fps_all_cores:8.1f} fps",
        f"  of the time {compute / prediction.dpu_ms:.0%} is bound by compute, the rest by memory; "
        f"channel lanes used {_mean_lane_use(layers):.0%}",
    ]
    lines += [f"  {network.note}"] if network.note else []
    shown = layers if with_layers else sorted(layers, key=lambda layer: -layer.ms)[:5]
    lines.append("  every layer:" if with_layers else "  the slowest layers (--layers shows all):")
    names = [shortened(layer.name, 48) for layer in shown]
    width = max(map(len, names))
    lines += [
        f"    {name:<{width}}  {layer.kind:<12} {layer.ms:8.3f} ms  {layer.bound:<7}  lanes {layer.lane_use:4.0%}"
        for name, layer in zip(names, shown, strict=True)
    ]
    return "\n".join(lines + (_totals_by_kind(layers) if with_layers else []))


def _totals_by_kind(layers: Sequence[LayerTime]) -> list[str]:
    """A line for each kind of layer, slowest first."""
    of_kind: dict[str, list[LayerTime]] = {}
    for layer in layers:
        of_kind.setdefault(layer.kind, []).append(layer)
    all_ms = sum(layer.ms for layer in layers)
    totals = sorted(((sum(layer.ms for layer in rows), kind, rows) for kind, rows in of_kind.items()), reverse=True)
    return ["  by kind:"] + [
        f"    {kind:<12} {len(rows):4} layers {ms:8.3f} ms  {ms / all_ms:4.0%}, lanes {_mean_lane_use(rows):4.0%}"
        for ms, kind, rows in totals
    ]


def _mean_lane_use(layers: Sequence[LayerTime]) -> float:
    """Weighted with the layers' times; plain where they take none."""
    all_ms = sum(layer.ms for layer in layers)
    if not all_ms:
        return sum(layer.lane_use for layer in layers) / len(layers)
    return sum(layer.ms * layer.lane_use for layer in layers) / all_ms
