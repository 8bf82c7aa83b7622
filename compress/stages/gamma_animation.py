"""Figure 2 in motion: how the gammas part into those at zero and those that stay, epoch by epoch."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from board_app.core.atomic_file import write_bytes

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  the backend must be chosen first
from matplotlib.animation import PillowWriter  # noqa: E402

_MOST_FRAMES = 40  # a longer training is shown in steps
_SECONDS = 8  # at most, then the end stays
_FASTEST_FPS = 5
_END_FRAMES = 6
_TICKS = (0.01, 0.1, 0.25, 0.5, 1.0)
_BLUE, _ORANGE = "#1f6feb", "#d9730d"


def animate_gammas(metrics: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a GIF of the distribution of |gamma| after every epoch; none where no epoch has one."""
    lines = [line for line in metrics if "gamma_histogram" in line]
    if not lines:
        return
    shown = [lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, _MOST_FRAMES).round().astype(int))]
    figure, axes = pyplot.subplots(figsize=(6, 3.2), dpi=80)
    figure.subplots_adjust(left=0.13, right=0.97, bottom=0.16, top=0.9)
    bins, edge = len(lines[0]["gamma_histogram"]), lines[0]["gamma_histogram_max"]
    width = edge / bins
    alive = axes.stairs(np.zeros(bins), np.linspace(0, edge, bins + 1), fill=True, color=_BLUE)
    (zero,) = axes.bar(-1.5 * width, 0, 2 * width, color=_ORANGE)
    axes.set(xlim=(-3 * width, edge), ylim=(0, 1), xlabel="|gamma|", ylabel="share of channels")
    axes.set_yticks(np.sqrt(_TICKS), [f"{100 * share:.0f} %" for share in _TICKS])
    writer = PillowWriter(fps=min(_FASTEST_FPS, max(1, round(len(shown) / _SECONDS + 0.5))))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "animation.gif"
        with writer.saving(figure, file, dpi=80):
            for line in (*shown, *shown[-1:] * _END_FRAMES):
                heights, zero_height = _heights(line)
                alive.set_data(heights)
                zero.set_height(zero_height)
                axes.set_title(f"Gammas after epoch {line['epoch']}: {100 * line['zero_share']:.1f} % at zero")
                writer.grab_frame()
        write_bytes(path, file.read_bytes())
    pyplot.close(figure)


def _heights(line: dict[str, Any]) -> tuple[np.ndarray, float]:
    """Of one epoch's bins without the zeros, and of the zeros: roots, so that few channels are seen beside many."""
    shares = np.array(line["gamma_histogram"], float) / max(sum(line["gamma_histogram"]), 1)
    shares[0] = max(shares[0] - line["zero_share"], 0.0)  # exact zeros lie in the first bin
    return np.sqrt(shares), float(np.sqrt(line["zero_share"]))
