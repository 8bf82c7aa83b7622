"""The picture of a cut: every layer's channels, predicted time and filled lanes, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import StrMethodFormatter

from board_app.core.atomic_file import replacing
from compress.pruning.layer_rows import LayerRow
from compress.pruning.report import PruneReport

_BEFORE, _AFTER, _GONE = "#c9d1d9", "#1f6feb", "#d9730d"
_BAND_ALPHA = 0.18
_TICKS = 36  # layer numbers that fit along x


def draw_layers(report: PruneReport, path: Path) -> None:
    """Write the picture; its kind is the path's suffix, .png or .svg."""
    rows = report.layers
    width_in = min(15.0, 6.0 + 0.09 * len(rows))
    figure = Figure(figsize=(width_in, 8.0))
    figure.subplots_adjust(left=0.9 / width_in, right=1 - 0.15 / width_in, top=0.96, bottom=0.1, hspace=0.16)
    channels, times, lanes = figure.subplots(3, 1, sharex=True, height_ratios=(2.2, 2.2, 1))
    layer_pt = 72 * (width_in - 1.05) / len(rows)
    _draw_pair(channels, rows, "channels", "channels", layer_pt)
    channels.set_title(
        f"What was cut: {report.params_before:,} -> {report.params_after:,} parameters, "
        f"{report.channels_before:,} -> {report.channels_after:,} channels, {report.blocks_removed} blocks",
        fontsize=11,
        y=1.0,  # looking for a place takes longer than all the rest
    )
    _draw_pair(times, rows, "predicted_dpu_ms", "predicted ms", layer_pt)
    times.set_title(
        f"Predicted time on one core of {report.board}: {report.predicted_dpu_ms_before:.2f} -> "
        f"{report.predicted_dpu_ms_after:.2f} ms",
        fontsize=11,
        y=1.0,
    )
    _draw_lanes(lanes, rows)
    for axes in (channels, times, lanes):
        _mark_gone(axes, rows)
        axes.grid(alpha=0.25, axis="y")
        axes.set_axisbelow(True)
    colours: dict[str, Any] = {"before": _BEFORE, "after": _AFTER}
    if report.blocks_removed:
        colours["block removed"] = to_rgba(_GONE, _BAND_ALPHA)
    handles = [Patch(color=colour, label=label) for label, colour in colours.items()]
    figure.legend(handles=handles, loc="lower center", ncols=3, frameon=False)
    step = -(-len(rows) // _TICKS)
    lanes.set_xticks(range(0, len(rows), step), [str(row.layer) for row in rows[::step]], fontsize=8)
    lanes.set_xlim(-0.8, len(rows) - 0.2)
    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=110)


def _draw_pair(axes: Any, rows: Sequence[LayerRow], what: str, label: str, layer_pt: float) -> None:
    """Wide bars before, narrow ones after in front of them, on a logarithmic scale; a layer has so many points.

    Thick lines: two hundred patches would take longer to draw than the network to prune.
    """
    heights = {when: np.array([getattr(row, f"{what}_{when}") for row in rows], float) for when in ("before", "after")}
    bottom = min(float(of[of > 0].min()) for of in heights.values()) / 2
    axes.set_yscale("log")
    for when, colour, share in (("before", _BEFORE, 0.88), ("after", _AFTER, 0.6)):
        places = np.flatnonzero(heights[when])
        axes.vlines(places, bottom, heights[when][places], color=colour, linewidth=share * layer_pt)
    axes.set(ylabel=f"{label} (log)", ylim=(bottom, 1.4 * heights["before"].max()))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.minorticks_off()


def _draw_lanes(axes: Any, rows: Sequence[LayerRow]) -> None:
    for when, colour, marker in (("before", _BEFORE, "s"), ("after", _AFTER, "o")):
        shares = [100 * share if (share := getattr(row, f"lane_use_{when}")) is not None else np.nan for row in rows]
        axes.plot(shares, marker, color=colour, markersize=3.5)
    axes.set(ylabel="lanes filled (%)", ylim=(-5, 108), xlabel="layer of the unpruned cfg")


def _mark_gone(axes: Any, rows: Sequence[LayerRow]) -> None:
    """A band behind every run of layers that went with their blocks."""
    gone = [False, *(row.is_gone for row in rows), False]
    starts = [place for place in range(len(rows)) if gone[place + 1] and not gone[place]]
    ends = [place for place in range(len(rows)) if gone[place + 1] and not gone[place + 2]]
    for start, end in zip(starts, ends, strict=True):
        axes.axvspan(start - 0.5, end + 0.5, color=_GONE, alpha=_BAND_ALPHA, linewidth=0, zorder=0)
