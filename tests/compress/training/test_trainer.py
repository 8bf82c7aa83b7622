"""The training loop."""

from __future__ import annotations

import copy
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from board_app.core.errors import RoadslimError
from board_app.core.road_scenes import ROAD_CLASSES
from compress.config import TrainingConfig
from compress.darknet.network import DarknetNetwork
from compress.training import trainer
from compress.training.batch import Batch, StepHook
from compress.training.loader import TrainingImages, epoch_order
from compress.training.schedule import size_at
from compress.training.trainer import Training

CONFIG = TrainingConfig(epochs=3, batch_size=4, learning_rate=0.002, evaluate_every=3)


def training(network: DarknetNetwork, images: TrainingImages, folder: Path, hook: StepHook | None = None) -> Training:
    folder.mkdir(exist_ok=True)
    held_out = TrainingImages(images.samples[:4], images.input_hw, None, 0)
    return Training(network, images, held_out, ROAD_CLASSES, CONFIG, folder, hook or StepHook())


class StopAfter(StepHook):
    """Ends the training in the middle of an epoch, as a kill would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, step: int, learning_rate: float) -> None:
        if step == self.step:
            raise KeyboardInterrupt


def test_loss_falls_and_every_epoch_has_a_line(network, images, tmp_path: Path) -> None:
    """Twelve pictures are learnt a little in three epochs; metrics.jsonl has one line each."""
    plain = TrainingImages(images.samples, images.input_hw, None, 3)
    _, history = training(network, plain, tmp_path).run()
    assert [line["epoch"] for line in history] == [1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"]
    assert "map50" in history[-1] and "map50" not in history[0]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("step", [0, 4, 8])
def test_an_interrupted_training_ends_with_the_same_weights(network, images, tmp_path: Path, step: int) -> None:
    """Interrupted in the first, second or third epoch and gone on: every weight is equal to the bit."""
    start = {name: value.clone() for name, value in network.state_dict().items()}
    whole, _ = training(network, images, tmp_path / "whole").run()
    network.load_state_dict(start)
    with pytest.raises(KeyboardInterrupt):
        training(network, images, tmp_path / "cut", StopAfter(step)).run()
    network.load_state_dict(start)
    again, history = training(network, images, tmp_path / "cut").run()
    assert len(history) == 3
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_training_that_fails_leaves_no_thread(network, images: TrainingImages, tmp_path: Path) -> None:
    """The threads that load pictures end with it, even while someone still looks at the error."""
    with pytest.raises(KeyboardInterrupt) as error:
        training(network, images, tmp_path, StopAfter(0)).run()
    assert error.tb is not None
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("pictures")]


def test_metrics_are_whole_after_a_kill_right_behind_the_last_checkpoint(network, images, tmp_path: Path) -> None:
    """metrics.jsonl follows from the checkpoint, whatever the kill left of it."""
    training(network, images, tmp_path).run()
    (tmp_path / "metrics.jsonl").unlink()
    _, history = training(network, images, tmp_path).run()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history and len(history) == 3


def test_a_loss_that_is_no_number_stops_with_the_pictures(network, images: TrainingImages, tmp_path: Path) -> None:
    """The message names epoch, step, files and the remedies; the checkpoint of the epoch before goes on."""

    class Poison(StepHook):
        def after_step(self, step: int, learning_rate: float) -> None:
            if step == 3:
                with torch.no_grad():
                    network.layers[0].conv.weight[0, 0, 0, 0] = float("nan")

    start = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(RoadslimError) as error:
        training(network, images, tmp_path, Poison()).run()
    second = epoch_order(images, 1, 4)[1]
    assert "found nan in epoch 2, step 2, with the pictures" in str(error.value)
    assert all(str(images.samples[index].image_path) in str(error.value) for index in second)
    assert "The checkpoint of epoch 1 is kept" in str(error.value) and "lower learning_rate" in str(error.value)
    network.load_state_dict(start)
    assert len(training(network, images, tmp_path).run()[1]) == 3


def test_a_gradient_that_is_no_number_reaches_no_checkpoint(network, images: TrainingImages, tmp_path: Path) -> None:
    """In the last step of an epoch: the checkpoint of the epoch before has good weights, and is gone on from."""

    class Poison(StepHook):
        steps = 0

        def extra_loss(self, batch: Batch, raw_heads) -> dict[str, torch.Tensor]:
            self.steps += 1
            return {"poison": (0 * raw_heads[0].sum()).sqrt()} if self.steps == 6 else {}

    with pytest.raises(RoadslimError, match="expected a finite gradient, .* in epoch 2, step 3, with the pictures"):
        training(network, images, tmp_path, Poison()).run()
    averaged, history = training(network, images, tmp_path).run()
    assert len(history) == 3
    assert all(bool(parameter.isfinite().all()) for parameter in averaged.parameters())


def test_too_little_memory_names_micro_batch(network, images: TrainingImages, tmp_path: Path) -> None:
    """Out of memory in a step is told with the pictures at once and their size."""

    class Hungry(StepHook):
        def extra_loss(self, batch: Batch, raw_heads) -> dict[str, torch.Tensor]:
            raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(RoadslimError, match="4 pictures of 64x96 pixels.*micro_batch: 2"):
        training(network, images, tmp_path, Hungry()).run()


def curve(network: DarknetNetwork, images: TrainingImages, folder: Path, **settings: object) -> list[float]:
    """The losses of a training from the same start with other settings."""
    made = training(copy.deepcopy(network), images, folder)
    made = replace(made, config=TrainingConfig(**(CONFIG.model_dump() | settings)))
    return [line["loss"] for line in made.run()[1]]


def test_the_loss_curve_does_not_depend_on_the_cut(network, images: TrainingImages, tmp_path: Path) -> None:
    """1 x 12, 2 x 6 and 3 x 4 pictures a step, statistics over 2, give the same losses to the rounding of sums."""
    settings = {"batch_size": 12, "statistics_batch": 2, "epochs": 8, "evaluate_every": 8}
    whole = curve(network, images, tmp_path / "1x12", **settings)
    for micro_batch in (6, 4):
        cut = curve(network, images, tmp_path / f"{12 // micro_batch}", **settings, micro_batch=micro_batch)
        assert cut == pytest.approx(whole, rel=1e-3)
    assert curve(network, images, tmp_path / "free", **settings | {"statistics_batch": None}) != pytest.approx(
        whole, rel=1e-3
    )


def test_a_checkpoint_inside_an_epoch_is_gone_on_from(network, images: TrainingImages, tmp_path: Path) -> None:
    """With a checkpoint after every step nothing is trained twice; weights and lines are the undisturbed ones."""
    start = copy.deepcopy(network.state_dict())
    settings = TrainingConfig(**CONFIG.model_dump() | {"checkpoint_minutes": 1e-9, "multi_scale": (64, 128)})
    whole, lines = replace(training(network, images, tmp_path / "whole"), config=settings).run()
    network.load_state_dict(start)
    with pytest.raises(KeyboardInterrupt):
        replace(training(network, images, tmp_path / "cut", StopAfter(4)), config=settings).run()

    class Count(StepHook):
        steps: list[int] = []

        def after_step(self, step: int, learning_rate: float) -> None:
            self.steps.append(step)

    network.load_state_dict(start)
    again, gone_on = replace(training(network, images, tmp_path / "cut", Count()), config=settings).run()
    assert Count.steps == [4, 5, 6, 7, 8]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    timed = {"seconds", "images_per_s"}
    for mine, theirs in zip(gone_on, lines, strict=True):
        assert {key: mine[key] for key in mine.keys() - timed} == {key: theirs[key] for key in theirs.keys() - timed}


def test_several_sizes_reach_network_and_hook(network, images: TrainingImages, tmp_path: Path) -> None:
    """Ten steps of one size each, as the schedule says, none of them as plain pictures."""

    class Sizes(StepHook):
        found: list[tuple[int, int]] = []

        def extra_loss(self, batch: Batch, raw_heads) -> dict[str, torch.Tensor]:
            assert raw_heads[0].shape[2:] == (batch.size_hw[0] // 16, batch.size_hw[1] // 16)
            self.found.append(batch.size_hw)
            return {}

    settings = TrainingConfig(epochs=10, batch_size=4, evaluate_every=10, multi_scale=(32, 192))
    replace(training(network, images, tmp_path, Sizes()), config=settings).run()
    assert Sizes.found == [size_at(step, (64, 96), (32, 192), images.seed) for step in range(30)]
    assert len(set(Sizes.found)) > 1


def test_it_stops_early_with_the_best_weights(network, images: TrainingImages, tmp_path: Path, monkeypatch) -> None:
    """mAP50 falls after the second epoch: two more, then the second's averaged weights, also after a kill between."""
    shares = iter([0.1, 0.4, 0.3, 0.2])
    seen: list[dict[str, torch.Tensor]] = []

    def falling(averaged: DarknetNetwork, *_: object, **__: object) -> SimpleNamespace:
        seen.append(copy.deepcopy(averaged.state_dict()))
        return SimpleNamespace(map50=next(shares), map50_95=0.0)

    monkeypatch.setattr(trainer, "evaluate", falling)
    settings = TrainingConfig(epochs=9, batch_size=4, patience=2)

    def stop(stage: str, metrics: dict[str, float]) -> None:
        if metrics["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(training(network, images, tmp_path), config=settings, on_epoch=stop).run()
    again = replace(training(network, images, tmp_path), config=settings)
    averaged, history = again.run()
    assert [line["best_epoch"] for line in history] == [1, 2, 2, 2]
    assert again.result_metrics == history[1]
    for name, value in averaged.state_dict().items():
        assert torch.equal(value, seen[1][name]), name
