"""The training loop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from board_app.core.errors import InputError, RoadslimError
from board_app.core.road_scenes import ROAD_CLASSES
from compress.config import TrainingConfig
from compress.darknet.network import DarknetNetwork
from compress.training.batch import StepHook
from compress.training.loader import TrainingImages
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


def test_metrics_are_whole_after_a_kill_right_behind_the_last_checkpoint(network, images, tmp_path: Path) -> None:
    """metrics.jsonl follows from the checkpoint, whatever the kill left of it."""
    training(network, images, tmp_path).run()
    (tmp_path / "metrics.jsonl").unlink()
    _, history = training(network, images, tmp_path).run()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history and len(history) == 3


def test_a_loss_that_is_no_number_stops_with_epoch_and_batch(network, images, tmp_path: Path) -> None:
    """The message names the place and the remedy."""
    with torch.no_grad():
        network.layers[0].conv.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(
        RoadslimError, match="found nan in epoch 1, step 1, with the pictures .*png.*lower learning_rate"
    ):
        training(network, images, tmp_path).run()


def test_a_damaged_checkpoint_is_said(network, images, tmp_path: Path) -> None:
    """A file that is no checkpoint is never unpickled blindly; the message says which folder to remove."""
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="checkpoint.pt.*damaged.*remove the folder"):
        training(network, images, tmp_path).run()
