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
_END_FRAMES = 8
_BLUE, _ORANGE = "#1f6feb", "#d9730d"


def animate_gammas(metrics: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a GIF of the distribution of |gamma| after every epoch; none where no epoch has one."""
    lines = [line for line in metrics if "gamma_histogram" in line]
    if not lines:
        return
    shown = [lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, _MOST_FRAMES).round().astype(int))]
    figure, axes = pyplot.subplots(figsize=(6, 3.2), dpi=80, layout="constrained")
    writer = PillowWriter(fps=min(_FASTEST_FPS, max(1, round(len(shown) / _SECONDS + 0.5))))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "animation.gif"
        with writer.saving(figure, file, dpi=80):
            for line in (*shown, *shown[-1:] * _END_FRAMES):
                _draw(axes, line)
                writer.grab_frame()
        write_bytes(path, file.read_bytes())
    pyplot.close(figure)


def _draw(axes: Any, line: dict[str, Any]) -> None:
    """One epoch: the bar of the zeros apart, heights as square roots, so that few channels are seen beside many."""
    counts = np.array(line["gamma_histogram"], float)
    total = max(counts.sum(), 1.0)
    zeros = line["zero_share"] * total
    edges = np.linspace(0, line["gamma_histogram_max"], len(counts) + 1)
    alive = counts - np.eye(1, len(counts))[0] * zeros  # exact zeros lie in the first bin
    axes.clear()
    axes.stairs(np.sqrt(alive.clip(min=0) / total), edges, fill=True, color=_BLUE)
    width = edges[1]
    axes.bar(-1.5 * width, np.sqrt(zeros / total), 2 * width, color=_ORANGE)
    axes.set(xlim=(-3 * width, edges[-1]), ylim=(0, 1), xlabel="|gamma|", ylabel="share of channels")
    axes.set_yticks(np.sqrt([0.01, 0.1, 0.25, 0.5, 1.0]), ["1 %", "10 %", "25 %", "50 %", "100 %"])
    axes.set_title(f"Gammas after epoch {line['epoch']}: {100 * line['zero_share']:.1f} % at zero", fontsize=10)
