"""How a training goes, and figures 1, 2 and 4 of the original work, drawn from a run's own metrics.

1 mAP over sparse training, 2 the gammas over its epochs, 4 mAP over fine-tuning; 3, what was pruned per layer, is
compress.pruning.layer_picture.
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
from matplotlib.ticker import MaxNLocator  # noqa: E402

Metrics = Sequence[dict[str, Any]]
_BLUE, _ORANGE, _GREY = "#1f6feb", "#d9730d", "#8b949e"
_PERCENT = (-3, 103)  # a line or marker at 0 or 100 stays clear of the axis
_LOSS_TERMS = ("loss", "box", "objectness", "classes")
_FEW_EPOCHS = 4  # so many are drawn without overlap in figure 2


def _map_curve(axes: Any, metrics: Metrics) -> None:
    measured = [line for line in metrics if "map50" in line]
    epochs = [line["epoch"] for line in measured]
    shares = [100 * line["map50"] for line in measured]
    axes.plot(epochs, shares, color=_BLUE, marker="o", markersize=4, label="mAP50")
    axes.set(xlabel="epoch", ylabel="mAP50 on the validation split (%)", ylim=_PERCENT)
    _whole_epochs(axes, [line["epoch"] for line in metrics])
    axes.grid(alpha=0.3)


def _whole_epochs(axes: Any, epochs: Sequence[int]) -> None:
    """Ticks at whole epochs only, and room beside a single one."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if epochs:
        margin = max(0.5 if len(set(epochs)) == 1 else 0.0, 0.04 * (max(epochs) - min(epochs)))
        axes.set_xlim(min(epochs) - margin, max(epochs) + margin)


def _legend_below(axes: Any) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=110)
    pyplot.close(figure)


def draw_training(metrics: Metrics, path: Path) -> None:
    """How a training goes: the terms of its loss, on a logarithmic axis, and mAP50, over at least one epoch."""
    figure, (losses, shares) = pyplot.subplots(1, 2, figsize=(10, 4))
    epochs = [line["epoch"] for line in metrics]
    for name in [name for name in metrics[-1] if name in _LOSS_TERMS or name.startswith("teacher_")]:
        losses.plot(epochs, [line[name] for line in metrics], label=name, linewidth=2 if name == "loss" else 1)
    losses.set(xlabel="epoch", ylabel="mean over the steps", yscale="log", title="Loss")
    _whole_epochs(losses, epochs)
    losses.grid(alpha=0.3)
    _legend_below(losses)
    _map_curve(shares, metrics)
    if "best_epoch" in metrics[-1]:
        shares.axvline(metrics[-1]["best_epoch"], color=_GREY, linestyle="--", label="best so far")
    shares.set_title("mAP")
    _legend_below(shares)
    _save(figure, path)


def draw_sparse_map(metrics: Metrics, start_map50: float, path: Path) -> None:
    """Figure 1: mAP50 and the share of zero gammas over the epochs of sparse training.

    Where the lines have `zero_share_aim`, the share that was to be zero by then, it is drawn too.
    """
    figure, axes = pyplot.subplots(figsize=(7, 4))
    _map_curve(axes, metrics)
    axes.axhline(100 * start_map50, color=_GREY, linestyle="--", label="before sparse training")
    share = axes.twinx()
    zeros = [100 * line["zero_share"] for line in metrics]
    share.plot([line["epoch"] for line in metrics], zeros, color=_ORANGE, marker="s", markersize=4)
    aimed = [line for line in metrics if "zero_share_aim" in line]
    aims = [100 * line["zero_share_aim"] for line in aimed]
    share.plot([line["epoch"] for line in aimed], aims, color=_ORANGE, linestyle=":")
    share.set_ylabel("gammas at zero (%)", color=_ORANGE)
    share.set_ylim(_PERCENT)
    axes.set_title("mAP over sparse training")
    axes.plot([], [], color=_ORANGE, marker="s", markersize=4, label="gammas at zero (dotted: the aim)")
    _legend_below(axes)
    _save(figure, path)


def draw_gammas(metrics: Metrics, path: Path) -> None:
    """Figure 2: the distribution of |gamma| after every epoch, the oldest at the back."""
    lines = [line for line in metrics if "gamma_histogram" in line]
    shown = [lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, 16).round().astype(int))] if lines else []
    figure, axes = pyplot.subplots(figsize=(7, min(5.0, 1.8 + 0.8 * len(shown))))
    tallest = max((max(line["gamma_histogram"]) / max(sum(line["gamma_histogram"]), 1) for line in shown), default=1.0)
    scale = (0.85 if len(shown) <= _FEW_EPOCHS else 2.2) / max(tallest, 1e-9) ** 0.5
    for depth, line in enumerate(shown):
        counts = np.sqrt(np.array(line["gamma_histogram"], float) / max(sum(line["gamma_histogram"]), 1))
        edges = np.linspace(0, line["gamma_histogram_max"], len(counts) + 1)
        base = float(len(shown) - depth)
        colour = pyplot.get_cmap("viridis")(depth / max(len(shown) - 1, 1))
        axes.stairs(base + scale * counts, edges, baseline=base, fill=True, color=colour, alpha=0.85)
        axes.axhline(base, color=colour, linewidth=0.8)
        axes.text(1.01, base, f"epoch {line['epoch']}", transform=axes.get_yaxis_transform(), fontsize=8)
    axes.set_xlim(left=0)
    axes.set(
        xlabel="|gamma|",
        yticks=[],
        ylabel="share of channels\n(square root scale)",
        title="Gammas over sparse training",
    )
    _save(figure, path)


def draw_finetune_map(metrics: Metrics, teacher_map50: float, pruned_map50: float, path: Path) -> None:
    """Figure 4: mAP50 over fine-tuning, beside the pruned network's and the teacher's."""
    figure, axes = pyplot.subplots(figsize=(7, 4))
    _map_curve(axes, metrics)
    axes.axhline(100 * teacher_map50, color=_GREY, linestyle="--", label="teacher")
    axes.axhline(100 * pruned_map50, color=_ORANGE, linestyle=":", label="straight after pruning")
    axes.set_title("mAP over fine-tuning with distillation")
    _legend_below(axes)
    _save(figure, path)
