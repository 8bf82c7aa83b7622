"""Figures 1 to 4 from short runs."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest

from compress.stages.figures import draw_finetune_map, draw_gammas, draw_sparse_map, draw_training


def _metrics(epochs: int) -> list[dict]:
    histogram = {"gamma_histogram": [40, 0, 5, 3], "gamma_histogram_max": 1.5}
    return [
        {"epoch": epoch + 1, "zero_share": 0.0, "zero_share_aim": 0.1, "map50": 0.0, **histogram}
        for epoch in range(epochs)
    ]


@pytest.mark.parametrize("epochs", [0, 1, 2, 30])
def test_figures_of_any_number_of_epochs(epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is drawn, with ticks at whole epochs only."""
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # text as text
    paths = [tmp_path / f"{number}.svg" for number in (1, 2, 4)]
    draw_sparse_map(_metrics(epochs), 0.5, paths[0])
    draw_gammas(_metrics(epochs), paths[1])
    draw_finetune_map(_metrics(epochs), 0.9, 0.0, paths[2])
    assert all("<svg" in path.read_text() for path in paths)
    assert not epochs or ">1.5</text>" not in paths[0].read_text() + paths[2].read_text()
    assert paths[1].read_text().count(">epoch ") == min(epochs, 16)


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_progress_of_a_training(epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every term of the loss has its line, a teacher's too; epochs without mAP leave a gap."""
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    terms = {"loss": 9.0, "box": 1.0, "objectness": 5.0, "classes": 2.0, "teacher_boxes": 1.0, "learning_rate": 0.001}
    lines = [{"epoch": epoch + 1, **terms} for epoch in range(epochs)]
    for line in lines[1::2]:
        line |= {"map50": 0.3, "best_epoch": line["epoch"]}
    draw_training(lines, tmp_path / "progress.svg")
    text = (tmp_path / "progress.svg").read_text()
    assert all(f">{name}</text>" in text for name in ("loss", "box", "teacher_boxes"))
    assert "learning_rate" not in text and ">1.5</text>" not in text
