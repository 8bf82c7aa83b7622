"""Figures 1 to 4 from short runs."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest

from compress.stages.figures import draw_finetune_map, draw_gammas, draw_sparse_map


def _metrics(epochs: int) -> list[dict]:
    histogram = {"gamma_histogram": [40, 0, 5, 3], "gamma_histogram_max": 1.5}
    return [{"epoch": epoch + 1, "zero_share": 0.0, "map50": 0.0, **histogram} for epoch in range(epochs)]


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
