"""The picture of a quantisation report: layers along x, what each loses below one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from board_app.core.atomic_file import replacing
from compress.quantization.report import LayerReport, QuantizationReport

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  the backend must be chosen first

_BLUE, _ORANGE, _GREY = "#1f6feb", "#d9730d", "#8b949e"
_NAMED = 5  # of the worst layers
_TICKS = 40  # layer numbers that fit along x
_SHORT = {"convolutional": "conv", "shortcut": "add"}


def draw_report(report: QuantizationReport, path: Path) -> None:
    """Write the picture; its kind is the path's suffix, .png or .svg."""
    layers = report.in_order()
    width = min(18.0, 6.0 + 0.16 * len(layers))
    figure, (noise, saturation, bits) = pyplot.subplots(
        3, 1, figsize=(width, 7.5), sharex=True, height_ratios=(2.6, 1, 1), layout="constrained"
    )
    _draw_noise(noise, report, layers)
    _draw_pair(
        saturation,
        [entry.saturated_share for entry in layers],
        [entry.weights_clipped_share for entry in layers],
        ("activations at -128 or 127", "weights clipped"),
        100,
    )
    saturation.set_ylabel("saturated (%)")
    _draw_pair(
        bits,
        [entry.unused_bits for entry in layers],
        [entry.weights_unused_bits for entry in layers],
        ("activations", "weights"),
        1,
    )
    bits.set(ylabel="unused bits", xlabel="layer of the cfg")
    bits.set_ylim(top=max(1.4, bits.get_ylim()[1]))
    step = -(-len(layers) // _TICKS)
    bits.set_xticks(
        range(0, len(layers), step), ["in" if entry.layer < 0 else str(entry.layer) for entry in layers[::step]]
    )
    bits.set_xlim(-0.8, len(layers) - 0.2)
    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=110)
    pyplot.close(figure)


def _draw_noise(axes: Any, report: QuantizationReport, layers: Sequence[LayerReport]) -> None:
    """Both signal-to-noise curves, and the names of the worst layers and of the heads."""
    places = {entry.layer: place for place, entry in enumerate(layers)}
    at_it = np.array([entry.snr_db for entry in layers], float)  # None becomes NaN, which is left out
    own = np.array([entry.own_snr_db for entry in layers], float)
    axes.plot(own, color=_GREY, marker="o", markersize=3.5, linestyle="none", label="the layer's own rounding alone")
    axes.plot(at_it, color=_BLUE, marker=".", label="int8 network against float network, at this layer")
    for head in report.heads:
        if head["snr_db"] is not None:
            axes.plot(places[head["layer"]], head["snr_db"], "D", color=_BLUE, markersize=7, mfc="white")
    axes.plot([], [], "D", color=_BLUE, markersize=7, mfc="white", label="head")
    worst = [entry for entry in report.layers[:_NAMED] if entry.own_snr_db is not None]
    axes.plot(
        [places[entry.layer] for entry in worst],
        [entry.own_snr_db for entry in worst],
        *("o",),
        **{"color": _ORANGE, "markersize": 6, "label": f"the {len(worst)} worst of them"},
    )
    for entry in worst:
        name = "input" if entry.layer < 0 else f"{_SHORT.get(entry.type, entry.type)} {entry.layer}"
        place = (places[entry.layer], entry.own_snr_db)
        axes.annotate(
            name,
            place,
            (0, 7),
            textcoords="offset points",
            ha="center",
            color=_ORANGE,
            fontsize=8,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )
    together = "" if report.heads_snr_db is None else f", heads {report.heads_snr_db:.1f} dB"
    axes.set(ylabel="signal-to-noise (dB)", title=f"Where int8 loses: {report.network}{together}")
    axes.margins(y=0.15)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", ncols=2, fontsize=8, framealpha=0.9)


def _draw_pair(
    axes: Any,
    activations: Sequence[float | None],
    weights: Sequence[float | None],
    labels: tuple[str, str],
    factor: float,
) -> None:
    """Two bars a layer."""
    for values, shift, colour, label in ((activations, -0.2, _BLUE, labels[0]), (weights, 0.2, _ORANGE, labels[1])):
        heights = [factor * (value or 0) for value in values]
        axes.bar(np.arange(len(heights)) + shift, heights, 0.4, color=colour, label=label)
    axes.set_ylim(top=1.35 * max(axes.get_ylim()[1], 1e-3))  # room for the legend
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    axes.legend(loc="upper right", ncols=2, fontsize=8, framealpha=0.9)
