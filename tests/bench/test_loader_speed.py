"""The timing of the loader, on a few synthetic scenes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import pytest
import torch

from bench import loader_speed
from compress.data.scenes import SceneSet, make_scenes


def test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A row without and one with mosaic, times above 0."""
    for owner, name in ((torch, "set_num_threads"), (cv2, "setNumThreads")):
        monkeypatch.setattr(owner, name, lambda count: None)  # the tests' own numbers stay
    make_scenes(tmp_path / "set", SceneSet(1, (4, 1, 1), (64, 96)), processes=1)
    monkeypatch.setattr(sys, "argv", ["speed", str(tmp_path / "set"), "--size", "64", "96", "--json"])
    loader_speed.main()
    rows = json.loads(capsys.readouterr().out)
    assert [row["mosaic"] for row in rows] == [0.0, 1.0]
    assert all(row["cpu_ms"] > 0 and row["wall_ms"] > 0 for row in rows)
