"""The picture of a search: every trial, the front, and the chosen point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

from board_app.core.atomic_file import replacing

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  the backend must be chosen first
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: E402

_BLUE, _ORANGE, _GREY = "#1f6feb", "#d9730d", "#8b949e"


def draw_front(document: dict[str, Any], path: Path) -> None:
    """Draw search.json: predicted DPU ms along a logarithmic axis, mAP50 upwards.

    Args:
        document: of search.json, with one finished trial at least.
        path: .svg or .png.
    """
    trials = {row["number"]: row for row in document["trials"]}
    front = [trials[number] for number in document["front"]]
    off = [row for row in trials.values() if row["state"] == "finished" and row["number"] not in document["front"]]
    stopped = [row for row in trials.values() if row["state"] == "stopped early"]
    figure, axes = pyplot.subplots(figsize=(8, 5))
    axes.plot(*_places(stopped), "x", color=_GREY, markersize=5, label=f"stopped early ({len(stopped)})")
    axes.plot(
        *_places(off), "o", color=_GREY, markersize=5, alpha=0.7, label=f"finished, not on the front ({len(off)})"
    )
    axes.plot(*_places(front), "-o", color=_BLUE, markersize=6, drawstyle="steps-post", label=f"front ({len(front)})")
    if document["chosen"]:
        chosen = trials[document["chosen"]["number"]]
        label = (
            f"chosen: trial {chosen['number']}, {100 * chosen['map50']:.1f} % at {chosen['predicted_dpu_ms']:.2f} ms"
        )
        axes.plot(*_places([chosen]), "*", color=_ORANGE, markersize=17, markeredgecolor="white", label=label, zorder=5)
    axes.set(
        xscale="log",
        xlabel=f"predicted DPU time on one core of {document['board']} (ms)",
        ylabel=f"mAP50 {document['evaluate']} on the validation split (%)",
        title=f"Search of {document['name']}",
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)
    figure.tight_layout()
    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=110)
    pyplot.close(figure)


def _places(rows: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    return [row["predicted_dpu_ms"] for row in rows], [100 * row["map50"] for row in rows]
