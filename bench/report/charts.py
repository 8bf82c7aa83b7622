"""Charts of the report, drawn with matplotlib as SVG from a summary alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np

from bench.results import Result
from bench.summary import LABELS, Summary, label_of
from bench.table import three_digits

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  the backend must be chosen first
from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: E402

COLOURS = ("#1f6feb", "#2da44e", "#d9730d", "#8250df", "#cf222e", "#0a7ea4", "#9a6700", "#57606a")
_LABEL_GAP = 8.0  # points of mAP50 that a line of text is high in the trade chart
_STYLE: Any = {  # matplotlib types its keys as literals
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8c959f",
    "axes.labelcolor": "#424a53",
    "xtick.color": "#424a53",
    "ytick.color": "#424a53",
    "svg.hashsalt": "roadslim",
}


def _svg(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    return buffer.getvalue()


def timed_results(summary: Summary) -> list[Result]:
    """The results with samples that were really taken, by backend and place in the table."""
    taken = [result for result in summary.results if result.metric == "latency" and len(result.samples_ms) > 1]
    return sorted(taken, key=lambda result: (result.backend, result.model.position))


def latency_chart(summary: Summary) -> bytes | None:
    """Every sample of every network, a panel for each backend; None where nothing was timed."""
    taken = timed_results(summary)
    backends = [backend for backend in LABELS if any(result.backend == backend for result in taken)]
    if not backends:
        return None
    counts = [sum(result.backend == backend for result in taken) for backend in backends]
    with pyplot.rc_context(_STYLE):
        figure, panels = pyplot.subplots(
            len(backends),
            1,
            figsize=(9, 0.85 * len(backends) + 0.4 * sum(counts)),
            squeeze=False,
            layout=ConstrainedLayoutEngine(hspace=0.12),
            gridspec_kw={"height_ratios": counts},
        )
        for axes, backend in zip(panels[:, 0], backends, strict=True):
            _latency_panel(axes, backend, [result for result in taken if result.backend == backend])
        return _svg(figure)


def _latency_panel(axes: Any, backend: str, results: Sequence[Result]) -> None:
    jitter = np.random.default_rng(1)
    names = [result.model.name for result in results]
    for place, result in enumerate(results):
        samples = np.asarray(result.samples_ms)
        colour = COLOURS[result.model.position % len(COLOURS)]
        heights = place + jitter.uniform(-0.22, 0.22, len(samples))
        axes.plot(samples, heights, ".", color=colour, alpha=0.35, markersize=4, markeredgewidth=0)
        axes.plot([np.median(samples)] * 2, [place - 0.34, place + 0.34], color=colour, linewidth=2.2)
        invalid = " !" if result.verdict == "INVALID" else ""
        axes.text(
            1.015,  # of the width: a column beside the samples, wherever they are
            place,
            f"{three_digits(float(np.median(samples)))} ms{invalid}",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=8.5,
            color=colour,
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("ms for one picture; bar and figure: median of all samples")
    axes.grid(axis="x", color="#d0d7de", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title(f"{label_of(backend)}, {results[0].origin}", loc="left", fontsize=10, fontweight="bold")


def class_chart(summary: Summary) -> bytes | None:
    """AP50 of every class for every network; None where no accuracy was measured."""
    found = [result for result in summary.results if result.accuracy and result.accuracy.per_class]
    if not found:
        return None
    found.sort(key=lambda result: (result.model.position, result.model.precision))
    classes = list(dict.fromkeys(name for result in found if result.accuracy for name in result.accuracy.per_class))
    width = 0.84 / len(found)
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(figsize=(9, 3.4))
        for place, result in enumerate(found):
            assert result.accuracy is not None
            entries = result.accuracy.per_class
            heights = [100 * entries[name].ap50 if name in entries else np.nan for name in classes]
            int8 = result.model.precision == "int8"
            axes.bar(
                np.arange(len(classes)) + (place - (len(found) - 1) / 2) * width,
                heights,
                width * 0.92,
                label=f"{result.model.name} ({'int8, ' if int8 else ''}{result.origin})",
                color=COLOURS[result.model.position % len(COLOURS)],
                hatch="///" if int8 else None,
                edgecolor="white",
                linewidth=0.4,
            )
        axes.set_xticks(range(len(classes)), classes)
        axes.set_ylim(0, 100)
        axes.set_ylabel("AP50 (%)")
        axes.grid(axis="y", color="#d0d7de", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=min(5, len(found)), frameon=False)
        return _svg(figure)


def _short_count(count: float) -> str:
    return f"{count / 1e6:g} M" if count >= 1e6 else f"{count / 1e3:g} k"


def spread(values: Sequence[float], gap: float, highest: float = 100) -> list[float]:
    """The values moved up, and at `highest` down, until they lie at least `gap` apart; in the order given."""
    moved = [float(value) for value in values]
    order = sorted(range(len(moved)), key=lambda index: moved[index])
    for below, above in pairwise(order):
        moved[above] = max(moved[above], moved[below] + gap)
    for index in reversed(order):
        moved[index] = highest = min(moved[index], highest)
        highest -= gap
    return moved


def trade_chart(summary: Summary) -> bytes | None:
    """mAP50 against parameters, our networks in the table's order; None where there are fewer than two."""
    rows = [row for row in summary.rows if row.params and row.map50_float]
    if len(rows) < 2:
        return None
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(figsize=(9, 3.6))
        x = [row.params or 0 for row in rows]
        y = [100 * row.map50_float.value for row in rows if row.map50_float]
        axes.plot(x, y, color="#8c959f", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        heights = {
            count: spread([y[place] for place in range(len(rows)) if x[place] == count], _LABEL_GAP) for count in set(x)
        }
        for place, row in enumerate(rows):
            colour = COLOURS[row.record.position % len(COLOURS)]
            axes.plot(x[place], y[place], "o", color=colour, markersize=8)
            axes.annotate(
                f"{row.model}: {y[place]:.1f} %",
                (x[place], heights[x[place]].pop(0)),
                (10, 0),
                textcoords="offset points",
                va="center",
                zorder=1.5,  # its ground hides the dashed line and the grid, and no marker
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
            if row.map50_int8:
                axes.plot(x[place], 100 * row.map50_int8.value, "D", color=colour, markersize=6, mfc="white")
        for kind, marker, fill, figures in (
            ("float", "o", "#57606a", [row.map50_float for row in rows]),
            ("int8", "D", "white", [row.map50_int8 for row in rows]),
        ):
            origins = sorted({figure.origin for figure in figures if figure})
            if origins:
                label = f"{kind}, {', '.join(origins)}"
                axes.plot([], [], marker, color="#57606a", mfc=fill, label=label)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
        axes.set_xscale("log")
        axes.set_xlim(min(x) / 1.4, max(x) * 2.4)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: _short_count(count)))
        axes.set_ylim(-5, 105)  # markers and labels at 0 and 100 stay clear of the axis
        axes.set(xlabel="parameters (logarithmic)", ylabel="mAP50 (%)")
        axes.grid(color="#d0d7de", linewidth=0.6)
        axes.set_axisbelow(True)
        return _svg(figure)
