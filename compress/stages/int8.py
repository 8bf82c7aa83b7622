"""The stages that leave torch: quantize writes the int8 graph, bundle packs it for the board."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from board_app.core.atomic_file import write_text
from board_app.core.bundle import write_bundle
from board_app.core.errors import InputError
from board_app.core.letterbox import LETTERBOX_GREY
from compress.config import TrainingConfig
from compress.quantization import QuantizedNetwork, quantize, to_xmodel
from compress.quantization.grid_network import GridNetwork
from compress.quantization.report import measure, write_report
from compress.stages.folder import Document, StageKey
from compress.stages.run import Run
from compress.stages.training import teaching, training_of
from compress.training.evaluation import evaluate
from compress.training.loader import to_input
from dpu import xmodel
from roadslim import roadslim_version

_GRAPH = "_int.xmodel"


def quantize_key(run: Run) -> StageKey:
    """The fine-tuned network, the calibration pictures and the settings."""
    config = run.config
    inputs = {"distill": run.network_hashes("distill"), "data": run.data_hashes}
    settings: dict[str, Any] = {"quantize": config.quantize.model_dump(mode="json"), "seed": config.seed}
    if config.quantize.fine_tune:
        inputs["teacher"] = run.teacher_hashes()
        settings |= {
            "augment": config.augment.model_dump(mode="json"),
            "distill": config.distill.model_dump(mode="json", exclude={"rewind"}),
        }
    return StageKey(inputs, settings)


def _calibration_batches(run: Run) -> Iterator[Tensor]:
    """Batches (N, 3, H, W) of training pictures as they are, spread evenly over the split."""
    images, config = run.images(augmented=False), run.config.quantize
    chosen = images.spread(config.images)
    for first in range(0, len(chosen), config.batch_size):
        pictures = [images.letterboxed(index)[0] for index in chosen[first : first + config.batch_size]]
        yield to_input(torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures]))


def run_quantize(run: Run, folder: Path) -> dict[str, Any]:
    """Find fix points, round the parameters, write NAME_int.xmodel; mAP of the fake-quantised network."""
    network, config = run.load_network("distill"), run.config.quantize
    correct_biases = config.bias_correction and config.fine_tune is None
    batches = list(_calibration_batches(run))
    quantized = quantize(network, batches, correct_biases, config.calibration_target, config.equalization)
    if config.fine_tune:
        quantized = _fine_tuned(run, GridNetwork(network, quantized), config.fine_tune, folder)
    xmodel.save(to_xmodel(quantized, run.config.name), folder / f"{run.config.name}{_GRAPH}")
    write_text(folder / "positions.json", json.dumps(quantized.positions(), indent=1) + "\n")
    write_report(measure(quantized, batches), folder)
    accuracy = evaluate(quantized, network.heads, run.held_out(), run.class_names)
    heads = [
        asdict(head.spec(tensor.tensor, tensor.fix_point))
        for tensor, head in zip(quantized.heads, network.heads, strict=True)
    ]
    return {
        "map50": accuracy.map50,
        "map50_95": accuracy.map50_95,
        "map50_float": run.map50("distill"),
        "input": {"tensor": quantized.input_tensor, "fix_point": quantized.input_fix_point},
        "heads": heads,
    }


def _fine_tuned(run: Run, network: GridNetwork, config: TrainingConfig, folder: Path) -> QuantizedNetwork:
    """The int8 network after training on the grid, on the labels and on the unpruned network's answers."""
    teacher = run.config.distill.teacher
    hook = teaching(run.config.distill, network, lambda: run.load_network(teacher))
    training = training_of(run, network, run.images(augmented=True), config, folder, hook)
    return training.run()[0].quantized()


def bundle_key(run: Run) -> StageKey:
    """The quantised graph, the thresholds, and what detector.json says of data and accuracy."""
    quantized, data = run.folder("quantize").finished(), run.training_data
    inputs = {
        "xmodel": quantized["outputs"][_graph_file(quantized)],
        "quantize": quantized["results"],
        "classes": list(data.classes),
        "labels": list(data.labels),
        "origin": data.origin,
        "images": len(run.validation_data.samples),
    }
    return StageKey(inputs, {"bundle": run.config.bundle.model_dump(mode="json"), "name": run.config.name})


def run_bundle(run: Run, folder: Path) -> dict[str, Any]:
    """Write NAME.bundle: the graph, and all that the board must know about it."""
    quantized, data = run.folder("quantize"), run.training_data
    document = quantized.finished()
    results = document["results"]
    accuracy = {"map50_float": results["map50_float"], "map50_int8": results["map50"]}
    fields = {
        "name": run.config.name,
        "roadslim_version": roadslim_version(),
        "kind": "quantised",
        "classes": list(run.class_names),
        "input_hw": list(run.config.network.input_hw),
        "channel_order": "RGB",
        "pixel_scale": 1 / 255,
        "letterbox_grey": LETTERBOX_GREY,
        "input": results["input"],
        "heads": results["heads"],
        **run.config.bundle.model_dump(mode="json"),
        "origin": {"run": run.config.name, "data": data.origin, **run.network_hashes("distill")},
        "accuracy": {
            **accuracy,
            "map50_int8_origin": "simulated",
            "data": f"{data.origin}, validation split",
            "images": len(run.validation_data.samples),
        },
    }
    path = folder / f"{run.config.name}.bundle"
    write_bundle(path, fields, (quantized.path / _graph_file(document)).read_bytes(), data.labels)
    return {"bundle": path.name, **accuracy}


def _graph_file(quantized: Document) -> str:
    """The graph's name in a finished quantize stage, which may be of a run that had another name.

    Raises:
        InputError: it has none.
    """
    names = [name for name in quantized["outputs"] if name.endswith(_GRAPH)]
    if not names:
        raise InputError(
            f"quantize/stage.json: expected a graph, NAME{_GRAPH}, among the outputs, found only "
            f"{', '.join(quantized['outputs']) or 'an empty list'}. Make the stage again with --fresh quantize"
        )
    return names[0]
