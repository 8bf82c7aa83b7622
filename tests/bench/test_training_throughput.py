"""The side-by-side timing of training, on a network small enough for a test."""

from __future__ import annotations

import json
import sys

import pytest

from bench import training_throughput
from compress.darknet.topologies import yolov3_tiny_cfg


def test_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A row with both speeds, round by round, and the ratio of their medians."""
    monkeypatch.setattr(training_throughput, "NETWORKS", {"small": lambda: yolov3_tiny_cfg(6, (64, 64), 0.125)})
    arguments = "throughput --networks small --batch-size 2 --steps 2 --rounds 3 --threads 1 --json"
    monkeypatch.setattr(sys, "argv", arguments.split())
    training_throughput.main()
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["network"] == "small" and row["batch_size"] == 2
    assert {name: len(taken) for name, taken in row["rounds_images_per_s"].items()} == {"training": 3, "bare": 3}
    for name, taken in row["rounds_images_per_s"].items():
        assert row[f"{name}_images_per_s"] == sorted(taken)[1] > 0
    assert row["ratio"] == row["training_images_per_s"] / row["bare_images_per_s"]
