"""The ways to lose less of a cut, of a network small enough for a test."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench import reconstruction
from compress.darknet.model_files import load_folder
from compress.darknet.network import DarknetNetwork
from compress.training.loader import TrainingImages, to_input


@pytest.fixture
def arguments(run_folder: Path, dataset_folder: Path, tmp_path: Path) -> list[str]:
    """Of the command, with one picture for training and two to measure on."""
    data = shutil.copytree(dataset_folder, tmp_path / "data")
    about = data / "dataset.yaml"
    about.write_text(about.read_text().replace("splits: {", "splits: {train: val.txt, "))
    return ["x", str(run_folder / "train"), str(data), "--split", "test", "--params", "60%", "30%"]


def test_a_row_for_every_share(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the parameters left, and a figure for every way."""
    monkeypatch.setattr(sys, "argv", arguments)
    reconstruction.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    params = [int(row[1].replace(",", "")) for row in rows]
    assert [row[0] for row in rows] == ["60 %", "30 %"] and params[0] > params[1] > 0
    assert all(0 <= float(point) <= 100 for row in rows for point in row[2:])
    assert {len(row) for row in rows} == {2 + len(reconstruction.COLUMNS)}


def test_every_way_is_another_network(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measured by the error of the heads in place of mAP, as networks that know nothing all have the same mAP."""
    whole = load_folder(Path(arguments[1]))

    def likeness(network: DarknetNetwork, heads: Any, images: TrainingImages, names: Any) -> SimpleNamespace:
        pictures = torch.cat([to_input(images.item(index)[0][None]) for index in range(len(images))])
        with torch.no_grad():
            errors = [
                (mine - theirs).square().mean() for mine, theirs in zip(network(pictures), whole(pictures), strict=True)
            ]
        return SimpleNamespace(map50=-float(torch.stack(errors).sum().log10()))

    monkeypatch.setattr(reconstruction, "evaluate", likeness)
    monkeypatch.setattr(sys, "argv", arguments)
    reconstruction.main()
    for line in capsys.readouterr().out.splitlines()[2:]:
        assert len(set(line.strip("| ").split(" | ")[2:])) == len(reconstruction.COLUMNS)
