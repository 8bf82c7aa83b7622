"""The stages that train: train, sparsify, distill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from board_app.core.errors import InputError
from compress.config import TaughtTrainingConfig, TrainingConfig
from compress.darknet.cfg import Cfg
from compress.darknet.cost import gmacs, parameter_count
from compress.darknet.model_files import save_model
from compress.darknet.network import ConvolutionLayer, DarknetNetwork
from compress.darknet.topologies import with_anchors
from compress.darknet.weights import load_weights
from compress.quantization.grid_network import GridNetwork
from compress.stages import figures
from compress.stages.cut import prune_options
from compress.stages.folder import StageKey
from compress.stages.gamma_animation import animate_gammas
from compress.stages.rewinding import rewound
from compress.stages.run import Run, hash_of
from compress.starting_point import starting_cfg
from compress.training import early_stop, processes
from compress.training.anchors import fit_anchors
from compress.training.batch import Metrics, StepHook
from compress.training.distillation import Distillation
from compress.training.loader import TrainingImages
from compress.training.sparsity import Sparsity
from compress.training.trainer import Network, Training

_ANCHOR_IMAGES = 2000  # box shapes of so many images settle the anchors
_SECONDS_BETWEEN_DRAWINGS = 10.0  # of the progress; short epochs shall not wait for it


def train_key(run: Run) -> StageKey:
    """The data, the starting point and everything that shapes the training."""
    config = run.config
    inputs = {"data": run.data_hashes, "cfg": hash_of(config.network.cfg), "weights": hash_of(config.network.weights)}
    return StageKey(inputs, _settings(run, config.train) | {"network": config.network.model_dump(mode="json")})


def run_train(run: Run, folder: Path) -> dict[str, Any]:
    """Train the full network, from the given weights or from scratch."""
    torch.manual_seed(run.config.seed)
    images = run.images(augmented=True)
    cfg = starting_cfg(run.config.network, len(run.class_names))
    if run.config.network.anchors == "auto":
        cfg = _with_fitted_anchors(cfg, images)
    network = DarknetNetwork(cfg)
    initialise(network)
    if run.config.network.weights:
        load_weights(network, run.config.network.weights, partial=True)
    return _train(run, network, images, run.config.train, folder, StepHook())[0]


def initialise(network: DarknetNetwork) -> None:
    """He initialisation (arXiv:1502.01852); heads start small, expecting few objects."""
    heads = {head.layer for head in network.heads}
    for index, layer in enumerate(network.layers):
        if isinstance(layer, ConvolutionLayer):
            if index in heads:
                torch.nn.init.normal_(layer.conv.weight, std=0.01)
            else:
                torch.nn.init.kaiming_normal_(layer.conv.weight, a=layer.slope, mode="fan_out")
    network.init_heads()


def sparsify_key(run: Run) -> StageKey:
    """The trained network, the data, the training's settings and what is to be cut."""
    inputs = {"data": run.data_hashes, "train": run.network_hashes("train")}
    prune = run.config.prune.result_settings()
    return StageKey(inputs, _settings(run, run.config.sparsify) | {"prune": prune})


def run_sparsify(run: Run, folder: Path) -> dict[str, Any]:
    """Go on training while what will be cut is driven to zero."""
    network = run.load_network("train")
    config = run.config.sparsify
    teacher = teaching(config, network, lambda: network)  # which is copied, as it is now
    sparsity = Sparsity(network, prune_options(run.config.prune), config, teacher)
    results, metrics = _train(run, network, run.images(augmented=True), config, folder, sparsity)
    figures.draw_sparse_map(metrics, run.map50("train"), folder / "figure1_sparse_map.svg")
    figures.draw_gammas(metrics, folder / "figure2_gammas.svg")
    animate_gammas(metrics, folder / "figure2_gammas.gif")
    return results | {"zero_share": metrics[-1]["zero_share"]}


def distill_key(run: Run) -> StageKey:
    """The pruned network or the weights it goes back to, its teacher, the data and the settings."""
    inputs: dict[str, Any] = {
        "data": run.data_hashes,
        "prune": run.network_hashes("prune"),
        "teacher": run.teacher_hashes(),
    }
    settings = _settings(run, run.config.distill)
    if run.config.distill.rewind:
        inputs["weights"] = hash_of(run.config.network.weights)
        settings["recalibration_images"] = run.config.prune.recalibration_images
    return StageKey(inputs, settings)


def run_distill(run: Run, folder: Path) -> dict[str, Any]:
    """Train the pruned network, or the starting weights cut alike, on the labels and on the teacher's answers."""
    config = run.config.distill
    network = rewound(run) if config.rewind else run.load_network("prune")
    hook = teaching(config, network, lambda: run.load_network(config.teacher))
    results, metrics = _train(run, network, run.images(augmented=True), config, folder, hook)
    teacher_map50, pruned_map50 = run.map50(config.teacher), run.map50("prune")
    figures.draw_finetune_map(metrics, teacher_map50, pruned_map50, folder / "figure4_finetune_map.svg")
    return results


def teaching(
    config: TaughtTrainingConfig, network: DarknetNetwork | GridNetwork, teacher: Callable[[], DarknetNetwork]
) -> StepHook:
    """What a teacher adds to the training of a network: nothing where all its weights are 0."""
    if not config.has_teacher:
        return StepHook()
    return Distillation(network, teacher(), config)


def _settings(run: Run, training: TrainingConfig) -> dict[str, Any]:
    config = run.config
    return {
        "training": training.result_settings(),
        "augment": config.augment.model_dump(mode="json"),
        "seed": config.seed,
    }


def _with_fitted_anchors(cfg: Cfg, images: TrainingImages) -> Cfg:
    """The cfg with anchors for the training boxes, as many as it has."""
    sizes = []
    for index in range(min(len(images), _ANCHOR_IMAGES)):
        corners = images.letterboxed(index)[1].to_network(images.samples[index].boxes_xyxy)
        sizes.append(corners[:, 2:] - corners[:, :2])
    every = np.concatenate(sizes)
    if not len(every):
        raise InputError("expected boxes in the training split, found none. Check it: `roadslim data check DATASET`")
    count = next(section.integer("num", 1) for section in cfg.layers if section.type == "yolo")
    fitted = fit_anchors(every, count)
    return with_anchors(cfg, [(float(width), float(height)) for width, height in fitted])


def training_of(
    run: Run, network: Network, images: TrainingImages, config: TrainingConfig, folder: Path, hook: StepHook
) -> Training[Network]:
    """A training with what the whole run says about it, whose progress is drawn while it runs."""
    drawn = 0.0

    def on_epoch(stage: str, metrics: Metrics) -> None:
        nonlocal drawn
        if processes.is_main():
            lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
            if early_stop.is_over(lines, config) or time.monotonic() - drawn > _SECONDS_BETWEEN_DRAWINGS:
                figures.draw_training(lines, folder / "progress.svg")
                drawn = time.monotonic()
        if run.on_epoch:
            run.on_epoch(stage, metrics)

    return Training(
        network,
        images,
        run.held_out(),
        run.class_names,
        config,
        folder,
        hook,
        workers=run.config.workers,
        on_epoch=on_epoch,
    )


def _train(
    run: Run, network: DarknetNetwork, images: TrainingImages, config: TrainingConfig, folder: Path, hook: StepHook
) -> tuple[dict[str, Any], list[Metrics]]:
    """One training whose averaged network is written to the folder; its results and metrics."""
    training = training_of(run, network, images, config, folder, hook)
    averaged, metrics = training.run()
    save_model(averaged, folder)
    results = {"params": parameter_count(averaged.cfg), "gmacs": gmacs(averaged.cfg)}
    return results | {name: training.result_metrics[name] for name in ("map50", "map50_95")}, metrics
