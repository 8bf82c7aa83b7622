"""MODEL as the commands take it: cfg and weights, a stage folder, a bundle, .onnx or .xmodel, ready to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.results import ModelRecord
from bench.run_folders import QuantizeStage, advice_for, quantize_stage
from board_app.core.atomic_file import sha256_of
from board_app.core.bundle import MODEL_FILE, DetectorSpec, HeadSpec, load_bundle
from board_app.core.errors import InputError, UsageError
from compress.bundle_of_stage import find_bundle
from dpu.latency import Layer

if TYPE_CHECKING:
    from compress.darknet.cfg import Cfg
    from compress.darknet.network import DarknetNetwork
    from dpu.graph import Graph

_WITH_WEIGHTS = ("conv", "depthwise", "fc")


@dataclass(frozen=True)
class Model:
    """A network that can be measured.

    Attributes:
        record: what its results say about it.
        spec: how its heads become detections; class names are `0`, `1`, .. where the file names none.
        named_classes: whether the class names come from the file.
    """

    record: ModelRecord
    spec: DetectorSpec
    named_classes: bool

    @property
    def layers(self) -> list[Layer]:
        """As the DPU sees them, for its predicted time; empty where the file does not tell."""
        return []

    def with_classes(self, classes: Sequence[str], source: str) -> Model:
        """The same model, whose classes are those of the dataset.

        Raises:
            InputError: the model has other classes, or another number of them.
        """
        known = self.spec.classes
        if len(known) != len(classes) or (self.named_classes and tuple(classes) != known):
            found = ", ".join(known) if self.named_classes else f"{len(known)} unnamed ones"
            remedy = "Choose a dataset with the classes that the model was trained for"
            if len(classes) > len(known):
                extra = [name for name in classes if name not in known] if self.named_classes else ["CLASS"]
                remedy += f", or leave out those that it lacks: --ignore {' '.join(extra)}"
            raise InputError(
                f"{self.record.path}: expected the classes of {source} ({', '.join(classes)}), found {found}. {remedy}."
            )
        return replace(self, spec=replace(self.spec, classes=tuple(classes)))


@dataclass(frozen=True)
class NetworkModel(Model):
    """A Darknet cfg and its weights."""

    cfg_path: Path
    weights_path: Path

    @cached_property
    def network(self) -> DarknetNetwork:
        """In evaluation mode, batch normalisation as trained."""
        from compress.darknet.model_files import load_model

        return load_model(self.cfg_path, self.weights_path)

    @property
    def layers(self) -> list[Layer]:
        """As the DPU sees them."""
        from compress.darknet.cost import dpu_layers

        return dpu_layers(self.network.cfg)


@dataclass(frozen=True)
class OnnxModel(Model):
    """An ONNX file with the raw heads in cfg order."""

    path: Path


@dataclass(frozen=True)
class XmodelModel(Model):
    """An .xmodel, alone or in a bundle."""

    path: Path

    @cached_property
    def graph(self) -> Graph:
        """The graph of the file."""
        from dpu import xmodel

        return xmodel.load(self.path)

    @property
    def layers(self) -> list[Layer]:
        """As the DPU sees them."""
        from dpu.latency import layers_of_graph

        return layers_of_graph(self.graph)


def open_model(
    path: Path | None,
    cfg: Path | None = None,
    weights: Path | None = None,
    name: str | None = None,
    position: int = 0,
) -> Model:
    """The model that a path, or a cfg and its weights, name.

    Args:
        path: a stage folder, a .bundle, .onnx or .xmodel; None where cfg and weights are given.
        cfg: with weights: the network. With an .xmodel, or an .onnx of others: where its anchors are; by default the
            quantise stage or bundle that an .xmodel lies in, or a model.cfg or NAME.cfg beside it.
        name: to show; by default the file's.
    Raises:
        UsageError: no model, or more than one, is named.
        InputError: the files are missing, wrong or do not belong together.
    """
    if path is None:
        if cfg is None or weights is None:
            found, remedy = "neither", "Name the model"
            if cfg or weights:
                found, remedy = ("--cfg alone", "Add --weights") if cfg else ("--weights alone", "Add --cfg")
            raise UsageError(f"expected MODEL, or --cfg with --weights, found {found}. {remedy}.")
        return _network_model(cfg, weights, name or cfg.stem, position)
    if weights is not None:
        raise UsageError(f"expected MODEL or --weights, found both ({path}, {weights}). Leave one out.")
    if not path.exists():
        raise InputError(
            f"expected a model at {path}, found nothing. Check the path; `roadslim compress` makes models."
        )
    bundle = find_bundle(path)
    if bundle is not None:
        return _bundle_model(bundle, name or bundle.resolve().stem, position)
    if path.is_dir():
        from compress.darknet.model_files import model_paths

        stage = quantize_stage(path)
        if stage is not None:
            return _quantize_stage_model(stage, name or path.name, position)
        if not (path / "model.cfg").is_file():
            raise InputError(f"{path}: expected a stage folder or a bundle, found neither. {advice_for(path)}")
        return _network_model(*model_paths(path), name or path.name, position)
    if path.suffix == ".cfg":
        raise UsageError(f"{path}: expected --cfg {path} --weights FILE, found the cfg alone. Add the weights.")
    if path.suffix == ".onnx":
        return _onnx_model(path, cfg, name or path.stem, position)
    if path.suffix == ".xmodel":
        if cfg is None and path.name == MODEL_FILE and find_bundle(path.parent) == path.parent:
            return _bundle_model(path.parent, name or path.parent.resolve().stem, position)
        stage = quantize_stage(path.parent) if cfg is None else None
        if stage is not None and stage.xmodel.name == path.name:
            return _quantize_stage_model(stage, name or path.stem, position)
        return _xmodel_model(path, cfg, name or path.stem, position)
    raise UsageError(
        f"{path}: expected a stage folder, .bundle, .onnx or .xmodel, found a file called *{path.suffix}. "
        "For Darknet files use --cfg and --weights."
    )


def _network_model(cfg_path: Path, weights_path: Path, name: str, position: int) -> NetworkModel:
    from compress.darknet.cfg import read_cfg

    cfg = read_cfg(cfg_path)
    record = _record(weights_path, name, position, cfg).model_copy(update={"cfg_sha256": sha256_of(cfg_path)})
    return NetworkModel(record, _spec_of_cfg(cfg, name), False, cfg_path, weights_path)


def _onnx_model(path: Path, cfg_path: Path | None, name: str, position: int) -> OnnxModel:
    from bench.onnx_file import read_onnx

    described = read_onnx(path, name)
    spec = described.spec
    if cfg_path or spec is None:
        spec = _spec_of_cfg(_cfg_of(path, cfg_path), name)
    record = ModelRecord(
        name=name,
        path=shown(path),
        sha256=sha256_of(path),
        input_hw=spec.input_hw,
        params=described.params,
        gmacs=described.gmacs,
        position=position,
    )
    return OnnxModel(record, spec, False, path)


def _xmodel_model(path: Path, cfg_path: Path | None, name: str, position: int) -> XmodelModel:
    cfg = _cfg_of(path, cfg_path)
    record = _record(path, name, position, cfg).model_copy(update={"precision": "int8"})
    model = XmodelModel(record, _spec_of_cfg(cfg, name), False, path)
    return replace(model, spec=_with_tensors(model))


def _quantize_stage_model(stage: QuantizeStage, name: str, position: int) -> XmodelModel:
    """The .xmodel with the heads that its stage tells of; sizes and classes as its tensors have them."""
    from dpu import xmodel
    from dpu.executor import Executor

    executor = Executor(xmodel.load(stage.xmodel))
    channels = {output.name: output.shape[-1] for output in executor.outputs}
    heads = tuple(
        HeadSpec(**{**head, "anchors": tuple(map(tuple, head["anchors"]))}) for head in stage.results["heads"]
    )
    entry = executor.inputs[0]
    spec = DetectorSpec(
        name=name,
        classes=tuple(str(index) for index in range(channels[heads[0].output] // len(heads[0].anchors) - 5)),
        input_hw=(entry.shape[1], entry.shape[2]),
        heads=heads,
        input_tensor=entry.name,
        input_fix_point=entry.fix_point,
    )
    record = ModelRecord(
        name=name,
        path=shown(stage.xmodel),
        sha256=sha256_of(stage.xmodel),
        precision="int8",
        input_hw=spec.input_hw,
        position=position,
    )
    model = XmodelModel(record, spec, False, stage.xmodel)
    params, gmacs = cost_of_layers(model.layers)
    return replace(model, record=record.model_copy(update={"params": params, "gmacs": gmacs}))


def _bundle_model(path: Path, name: str, position: int) -> XmodelModel:
    bundle = load_bundle(path)
    source = bundle.spec.origin.get("model.weights")
    record = ModelRecord(
        name=name,
        path=shown(path),
        sha256=bundle.model_sha256,
        precision="int8",
        quantised_from=source if isinstance(source, str) else None,
        input_hw=bundle.spec.input_hw,
        position=position,
    )
    model = XmodelModel(record, bundle.spec, True, path / MODEL_FILE)
    params, gmacs = cost_of_layers(model.layers)
    return replace(model, record=record.model_copy(update={"params": params, "gmacs": gmacs}))


def cost_of_layers(layers: Sequence[Layer]) -> tuple[int, float]:
    """Parameters (weights and biases, batch normalisation folded) and 10^9 multiply-accumulates."""
    params, macs = 0, 0
    for layer in layers:
        if layer.kind in _WITH_WEIGHTS:
            height, width, out = layer.out_hwc
            depth = 1 if layer.kind == "depthwise" else layer.in_hwc[2] // layer.groups
            taps = layer.kernel_hw[0] * layer.kernel_hw[1] * depth
            params += out * (taps + 1)
            macs += height * width * out * taps
    return params, macs / 1e9


def shown(path: Path) -> str:
    """The path from the working folder on, or only the name where it is elsewhere: no one's folders in results."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return path.name


def _record(path: Path, name: str, position: int, cfg: Cfg) -> ModelRecord:
    from compress.darknet.cost import gmacs, parameter_count

    return ModelRecord(
        name=name,
        path=shown(path),
        sha256=sha256_of(path),
        input_hw=cfg.input_hw,
        params=parameter_count(cfg),
        gmacs=gmacs(cfg),
        position=position,
    )


def _cfg_of(path: Path, cfg_path: Path | None) -> Cfg:
    from compress.darknet.cfg import read_cfg

    beside = [path.with_suffix(".cfg"), path.with_name("model.cfg")]
    for candidate in [cfg_path] if cfg_path else beside:
        if candidate.is_file():
            return read_cfg(candidate)
    raise InputError(
        f"{path}: expected the network's cfg, which has the anchors, at {cfg_path or beside[0]}, found none. "
        "Name it: --cfg FILE. A quantise stage's folder and a bundle know their anchors: name those without a cfg"
    )


def _spec_of_cfg(cfg: Cfg, name: str) -> DetectorSpec:
    from compress.darknet.heads import heads_of

    return DetectorSpec(
        name=name,
        classes=tuple(str(index) for index in range(cfg.classes)),
        input_hw=cfg.input_hw,
        heads=tuple(head.spec(f"layer{head.layer}") for head in heads_of(cfg)),
    )


def _with_tensors(model: XmodelModel) -> DetectorSpec:
    """The cfg's heads with the graph's tensors, told apart by their shapes."""
    from dpu.executor import Executor

    executor = Executor(model.graph)
    outputs: list[Any] = list(executor.outputs)
    heads = []
    for head in model.spec.heads:
        height, width = (side // head.stride for side in model.spec.input_hw)
        shape = (1, height, width, len(head.anchors) * (5 + len(model.spec.classes)))
        fitting = [output for output in outputs if tuple(output.shape) == shape]
        if len(fitting) != 1:
            raise InputError(
                f"{model.path}: expected one output of shape {list(shape)} for the cfg's {head.output}, found "
                f"{len(fitting)} in {[list(output.shape) for output in outputs]}. Name the cfg that it was made from."
            )
        outputs.remove(fitting[0])
        heads.append(replace(head, output=fitting[0].name, fix_point=fitting[0].fix_point))
    entry = executor.inputs[0]
    return replace(model.spec, heads=tuple(heads), input_tensor=entry.name, input_fix_point=entry.fix_point)
