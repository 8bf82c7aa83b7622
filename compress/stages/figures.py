"""The four figures of the original work, drawn from a run's own metrics.

1 mAP over sparse training, 2 the gammas over its epochs, 3 what was pruned per layer, 4 mAP over fine-tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from board_app.core.atomic_file import replacing

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  the backend must be chosen first

Metrics = Sequence[dict[str, Any]]
_BLUE, _ORANGE, _GREY = "#1f6feb", "#d9730d", "#8b949e"


def _map_curve(axes: Any, metrics: Metrics) -> None:
    measured = [line for line in metrics if "map50" in line]
    epochs = [line["epoch"] for line in measured]
    axes.plot(epochs, [100 * line["map50"] for line in measured], color=_BLUE, marker="o", markersize=3)
    axes.set(xlabel="epoch", ylabel="mAP50 on the validation split (%)", ylim=(0, 100))
    axes.grid(alpha=0.3)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=110)
    pyplot.close(figure)


def draw_sparse_map(metrics: Metrics, start_map50: float, path: Path) -> None:
    """Figure 1: mAP50 and the share of zero gammas over the epochs of sparse training."""
    figure, axes = pyplot.subplots(figsize=(7, 4))
    _map_curve(axes, metrics)
    axes.axhline(100 * start_map50, color=_GREY, linestyle="--", label="before sparse training")
    share = axes.twinx()
    share.plot([line["epoch"] for line in metrics], [100 * line["zero_share"] for line in metrics], color=_ORANGE)
    share.set_ylabel("gammas at zero (%)", color=_ORANGE)
    share.set_ylim(0, 100)
    axes.set_title("mAP over sparse training")
    axes.legend(loc="lower left")
    _save(figure, path)


def draw_gammas(metrics: Metrics, path: Path) -> None:
    """Figure 2: the distribution of |gamma| after every epoch, the oldest at the back."""
    figure, axes = pyplot.subplots(figsize=(7, 5))
    lines = [line for line in metrics if "gamma_histogram" in line]
    shown = [lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, 16).round().astype(int))] if lines else []
    for depth, line in enumerate(shown):
        counts = np.sqrt(np.array(line["gamma_histogram"], float) / max(sum(line["gamma_histogram"]), 1))
        edges = np.linspace(0, line["gamma_histogram_max"], len(counts) + 1)
        base = float(len(shown) - depth)
        colour = pyplot.get_cmap("viridis")(depth / max(len(shown) - 1, 1))
        axes.fill_between((edges[1:] + edges[:-1]) / 2, base, base + 2.5 * counts, color=colour, alpha=0.8, lw=0.5)
        axes.text(edges[-1], base + 0.1, f"epoch {line['epoch']}", ha="right", fontsize=7)
    axes.set(
        xlabel="|gamma|", yticks=[], ylabel="share of channels (square root scale)", title="Gammas over sparse training"
    )
    _save(figure, path)


def draw_pruned_layers(layers: Sequence[dict[str, Any]], path: Path) -> None:
    """Figure 3: channels of every convolution before and after; `layers` are the prune report's."""
    figure, axes = pyplot.subplots(figsize=(11, 4))
    positions = np.arange(len(layers))
    before = [layer["channels_before"] for layer in layers]
    after = [layer["channels_after"] for layer in layers]
    axes.bar(positions, before, color="#d0d7de", label="before")
    axes.bar(positions, after, color=_BLUE, label="after")
    gone = [position for position, kept in zip(positions, after, strict=True) if not kept]
    axes.plot(
        gone, [before[position] for position in gone], "x", color=_ORANGE, label="block removed", linestyle="none"
    )
    axes.set(xlabel="convolution", ylabel="channels", title="What was pruned per layer", yscale="log")
    axes.set_ylim(bottom=0.8)
    axes.legend(loc="upper left")
    _save(figure, path)


def draw_finetune_map(metrics: Metrics, teacher_map50: float, pruned_map50: float, path: Path) -> None:
    """Figure 4: mAP50 over fine-tuning, between the pruned network's and the teacher's."""
    figure, axes = pyplot.subplots(figsize=(7, 4))
    _map_curve(axes, metrics)
    axes.axhline(100 * teacher_map50, color=_GREY, linestyle="--", label="unpruned teacher")
    axes.axhline(100 * pruned_map50, color=_ORANGE, linestyle=":", label="straight after pruning")
    axes.set_title("mAP over fine-tuning with distillation")
    axes.legend(loc="lower right")
    _save(figure, path)
