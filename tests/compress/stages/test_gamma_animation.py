"""The gammas in motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compress.stages.gamma_animation import animate_gammas


def _metrics(epochs: int) -> list[dict]:
    """Gammas that move to zero."""
    lines = []
    for epoch in range(epochs):
        zeros = 100 * epoch // max(epochs - 1, 1)
        lines.append(
            {
                "epoch": epoch + 1,
                "zero_share": zeros / 100,
                "gamma_histogram": [zeros, 0, 60 - 60 * zeros // 100, 40 - 40 * zeros // 100],
                "gamma_histogram_max": 1.5,
            }
        )
    return lines


@pytest.mark.parametrize(("epochs", "frames"), [(1, 1), (3, 3), (300, 40)])
def test_a_small_gif_of_any_number_of_epochs(epochs: int, frames: int, tmp_path: Path) -> None:
    """One frame an epoch, of long trainings forty; it ends with another picture than it began with."""
    animate_gammas(_metrics(epochs), tmp_path / "gammas.gif")
    with Image.open(tmp_path / "gammas.gif") as picture:
        assert picture.format == "GIF"
        assert picture.n_frames == frames  # frames that are alike are one
        first = np.array(picture.convert("RGB"))
        picture.seek(picture.n_frames - 1)
        assert epochs == 1 or (first != np.array(picture.convert("RGB"))).any()
    assert (tmp_path / "gammas.gif").stat().st_size < 400_000
    assert [path.name for path in tmp_path.iterdir()] == ["gammas.gif"]


def test_no_epoch_no_file(tmp_path: Path) -> None:
    """There is nothing to show of a training without histograms."""
    animate_gammas([{"epoch": 1}], tmp_path / "gammas.gif")
    assert not list(tmp_path.iterdir())
