"""Where int8 loses: every layer's signal-to-noise, saturation and wasted bits on the calibration images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from board_app.core.atomic_file import write_text
from compress.quantization.plan import Node
from compress.quantization.positions import INT8_MAX, INT8_MIN, half_away
from compress.quantization.quantized_network import QuantizedNetwork, cfg_type
from compress.quantization.signal_to_noise import SignalToNoise, decibels, heads_noise_share
from compress.quantization.simulation import float_compute, run_plan

SHOWN = 10  # layers of the table
_BITS = 7  # of a magnitude in int8


@dataclass(frozen=True)
class LayerReport:
    """One layer; its activation is that after the layer's activation function.

    Attributes:
        layer: index in the cfg, -1 for the input.
        type: of the cfg section.
        tensor: name of its int8 tensor.
        snr_db: of its activation in the int8 network against the float network; None without any noise.
        own_snr_db: the same where its inputs are the float network's: the noise of its own rounding of weights, bias
            and output alone.
        saturated_share: of its activations, at -128 or 127.
        unused_bits: of the seven bits of a magnitude what its largest activation m leaves unused, 7 - log2(m + 1);
            1 is a whole bit, at a largest magnitude of 63.
        fix_point: of its activation; it and the two before are None where a concatenation rounds for it.
        weights_clipped_share: of its weights, those that lie beyond -128 or 127.
        weights_unused_bits: as of the activations.
        weight_fix_point, bias_fix_point: of a convolution.
    """

    layer: int
    type: str
    tensor: str
    snr_db: float | None
    own_snr_db: float | None
    saturated_share: float | None
    unused_bits: float | None
    fix_point: int | None
    weights_clipped_share: float | None = None
    weights_unused_bits: float | None = None
    weight_fix_point: int | None = None
    bias_fix_point: int | None = None


@dataclass(frozen=True)
class QuantizationReport:
    """The document report.json.

    Attributes:
        network: its name.
        images: how many it was measured on.
        heads: `layer`, `tensor` and `snr_db` of every output.
        heads_snr_db: of all heads together, each counting alike; None without any noise.
        layers: the worst `own_snr_db` first.
    """

    network: str
    images: int
    heads: tuple[dict[str, Any], ...]
    heads_snr_db: float | None
    layers: tuple[LayerReport, ...]

    def document(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        from roadslim import roadslim_version

        return {"schema_version": 1, "roadslim_version": roadslim_version(), "origin": "simulated", **asdict(self)}

    def to_json(self) -> str:
        """The document as text."""
        return json.dumps(self.document(), indent=1)

    def in_order(self) -> list[LayerReport]:
        """The layers in running order."""
        return sorted(self.layers, key=lambda entry: entry.layer)

    def table(self, rows: int = SHOWN) -> str:
        """The worst layers, a line each, for a reader."""
        lines = [
            f"heads {_db(self.heads_snr_db).strip()} dB signal-to-noise against the float network on {self.images} "
            f"images; where int8 loses, worst first:",
            "layer  type            own dB  at it dB  saturated  clipped  unused bits     fix points",
            "                                        activation  weights   act. / wt.  weight bias output",
        ]
        for entry in self.layers[:rows]:
            lines.append(
                f"{'input' if entry.layer < 0 else entry.layer:>5}  {entry.type:<14} {_db(entry.own_snr_db)}  "
                f"{_db(entry.snr_db)}   {_percent(entry.saturated_share):>9}  "
                f"{_percent(entry.weights_clipped_share):>7} "
                f"{_bits(entry.unused_bits):>7} / {_bits(entry.weights_unused_bits):<3} "
                f"{_whole(entry.weight_fix_point):>8} {_whole(entry.bias_fix_point):>4} {_whole(entry.fix_point):>6}"
            )
        if len(self.layers) > rows:
            lines.append(f"and {len(self.layers) - rows} more in the report")
        return "\n".join(lines)


@dataclass
class _Measured:
    """What is summed up of one node over the batches."""

    at_it: SignalToNoise = field(default_factory=SignalToNoise)
    own: SignalToNoise = field(default_factory=SignalToNoise)
    saturated: int = 0
    elements: int = 0
    largest: float = 0.0


@torch.no_grad()
def measure(quantized: QuantizedNetwork, batches: Iterable[Tensor]) -> QuantizationReport:
    """The report of an int8 network on images.

    Args:
        quantized: the int8 network; what it is compared with is its own `float_parameters`, unrounded.
        batches: float32 (N, 3, H, W), RGB / 255, at any N; at least one.
    """
    plan, exact = quantized.plan, float_compute(quantized.float_parameters)
    measured = [_Measured() for _ in plan.nodes]

    def compute(node: Node, inputs: list[Tensor]) -> Tensor:
        """The float network's images and, behind them, the same of the int8 network."""
        pairs = [values.chunk(2) for values in inputs]
        wanted = [pair[0].float() for pair in pairs]
        reference, found = exact(node, wanted), quantized.compute(node, [pair[1] for pair in pairs])
        entry = measured[node.index]
        entry.at_it.add(reference, found)
        entry.own.add(reference, quantized.compute(node, wanted))
        if plan.has_fix_point(node):
            integers = found * 2.0 ** quantized.fix_points.outputs[node.index]
            entry.saturated += int(((integers == INT8_MIN) | (integers == INT8_MAX)).sum())
            entry.elements += integers.numel()
            entry.largest = max(entry.largest, integers.abs().max().item())
        return torch.cat([reference, found])

    images = 0
    for batch in batches:
        run_plan(plan, torch.cat([batch, batch]), compute)
        images += len(batch)
    layers = [_layer(quantized, node, measured[node.index]) for node in plan.nodes]
    layers.sort(key=lambda entry: (entry.own_snr_db is None, entry.own_snr_db, entry.layer))
    heads = [measured[head].at_it for head in plan.heads]
    return QuantizationReport(
        quantized.name,
        images,
        tuple(
            {"layer": head.layer, "tensor": head.tensor, "snr_db": snr.db}
            for head, snr in zip(quantized.heads, heads, strict=True)
        ),
        decibels(heads_noise_share(heads)),
        tuple(layers),
    )


def write_report(report: QuantizationReport, folder: Path) -> None:
    """Write report.json and report.png into an existing folder."""
    from compress.quantization.report_figure import draw_report  # matplotlib takes a second to import

    draw_report(report, folder / "report.png")
    write_text(folder / "report.json", report.to_json() + "\n")


def _layer(quantized: QuantizedNetwork, node: Node, measured: _Measured) -> LayerReport:
    rounded = quantized.plan.has_fix_point(node)
    report = LayerReport(
        node.layer,
        cfg_type(node),
        node.tensor,
        measured.at_it.db,
        measured.own.db,
        measured.saturated / measured.elements if rounded else None,
        _unused_bits(measured.largest) if rounded else None,
        quantized.fix_points.outputs.get(node.index),
    )
    if node.kind != "conv":
        return report
    fix_point = quantized.fix_points.weights[node.index]
    scaled = half_away(quantized.float_parameters[node.index][0] * 2.0**fix_point)
    clipped = (scaled < INT8_MIN) | (scaled > INT8_MAX)
    return replace(
        report,
        weights_clipped_share=clipped.double().mean().item(),
        weights_unused_bits=_unused_bits(scaled.abs().max().item()),
        weight_fix_point=fix_point,
        bias_fix_point=quantized.fix_points.biases[node.index],
    )


def _unused_bits(largest: float) -> float:
    return _BITS - math.log2(min(largest, INT8_MAX) + 1)


def _db(value: float | None) -> str:
    return f"{'exact' if value is None else format(value, '.1f'):>7}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _bits(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"


def _whole(number: int | None) -> str:
    return "-" if number is None else str(number)
