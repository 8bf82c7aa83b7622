"""Accuracy through the board's detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.accuracy import evaluate, held_out_split
from bench.models import Model, open_model
from board_app.core.errors import InputError
from compress.data.dataset import Dataset, open_dataset


class _Oracle:
    """A network that finds the labelled boxes of the pictures in their order, in its first head's first anchor."""

    settings: dict[str, Any] = {}

    def __init__(self, model: Model, dataset: Dataset, confidence_logit: float = 8.0) -> None:
        self._spec, self._samples, self._logit = model.spec, iter(dataset.samples), confidence_logit

    def run(self) -> None:
        """Nothing to time."""

    def forward(self, picture_rgb: np.ndarray) -> list[np.ndarray]:
        """Heads that decode to the boxes; the pictures have the network's size, so nothing is letterboxed."""
        heads = []
        for head in self._spec.heads:
            cells = np.array(self._spec.input_hw) // head.stride
            heads.append(np.full((*cells, len(head.anchors) * (5 + len(self._spec.classes))), -20, np.float32))
        sample, head = next(self._samples), self._spec.heads[0]
        for (x1, y1, x2, y2), class_id in zip(sample.boxes_xyxy, sample.class_id, strict=True):
            column, row = (x1 + x2) / 2 / head.stride, (y1 + y2) / 2 / head.stride
            inside = np.clip([column % 1, row % 1], 1e-4, 1 - 1e-4)
            cell = heads[0][int(row), int(column)]
            cell[:2] = np.log(inside / (1 - inside))
            cell[2:4] = np.log([(x2 - x1) / head.anchors[0][0], (y2 - y1) / head.anchors[0][1]])
            cell[4] = cell[5 + class_id] = self._logit
        return heads


def test_a_perfect_network_is_perfect(run_folder: Path, dataset_folder: Path) -> None:
    """Heads that say exactly what is labelled give mAP 1, F1 1, and the record names the data and the protocol."""
    model = open_model(run_folder / "train")
    dataset = open_dataset(dataset_folder, "test")
    found = evaluate(model, _Oracle(model, dataset), dataset, "test")
    assert (found.map50, found.f1, found.images, found.split) == (1.0, 1.0, 2, "test")
    assert found.map50_95 == pytest.approx(1.0)
    assert {name: entry.truths for name, entry in found.per_class.items()} == {"D00": 1, "D10": 2}
    assert found.data == "synthetic test pictures" and found.dataset_sha256 == dataset.fingerprint()
    assert "0.001" in found.protocol and "IoU 0.45" in found.protocol and "64x64" in found.protocol


def test_weak_detections_count(run_folder: Path, dataset_folder: Path) -> None:
    """Confidences far below the board's threshold still count: mAP is over all thresholds."""
    model = open_model(run_folder / "small.bundle")
    dataset = open_dataset(dataset_folder, "test")
    weak = _Oracle(model, dataset, confidence_logit=-2.0)  # confidence 0.014, the bundle's threshold is 0.3
    assert evaluate(model, weak, dataset).map50 == 1.0


def test_refuses_other_classes(run_folder: Path, dataset_folder: Path) -> None:
    """A dataset with classes that the model does not have is an error, not a low mAP."""
    dataset = open_dataset(dataset_folder, "test", ignore=["D00"])
    for name in ("train", "small.bundle"):
        model = open_model(run_folder / name)
        with pytest.raises(InputError, match="expected the classes"):
            evaluate(model, _Oracle(model, dataset), dataset)


def test_refuses_pictures_without_labels(run_folder: Path, dataset_folder: Path, tmp_path: Path) -> None:
    """Where nothing is labelled there is no accuracy."""
    dataset = open_dataset(dataset_folder, "test")
    bare = [
        type(sample)(sample.image_path, np.zeros((0, 4), np.float32), np.zeros(0, np.int32))
        for sample in dataset.samples
    ]
    model = open_model(run_folder / "train")
    with pytest.raises(InputError, match="expected labelled boxes"):
        evaluate(model, _Oracle(model, dataset), Dataset("bare", tmp_path, dataset.classes, tuple(bare)))


def test_prefers_pictures_that_no_training_saw(dataset_folder: Path) -> None:
    """Without a named split the test split is taken."""
    assert held_out_split(dataset_folder) == "test"
