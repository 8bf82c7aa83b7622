"""What a cut did to each layer: a row with its size and its predicted time before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from compress.darknet.cfg import layer_shapes
from compress.darknet.network import ConvolutionLayer, DarknetNetwork
from compress.darknet.section import HEAD_TYPES

if TYPE_CHECKING:
    from rich.table import Table

    from dpu.latency import Prediction

_TABLE_WIDTH = 120


@dataclass(frozen=True)
class LayerRow:
    """One layer of the unpruned cfg; heads' sections, which compute nothing, have none.

    Attributes:
        layer: its index, and type: its section.
        size: of the kernel; 1 where there is none.
        channels_before, channels_after: of its output; 0 after where its block is gone.
        params_before, params_after: trained numbers.
        gmacs_before, gmacs_after: 1e9 multiply-accumulates an image.
        predicted_dpu_ms_before, predicted_dpu_ms_after: by the latency model, on one core; 0 where it takes no time.
        lane_use_before, lane_use_after: share of the DPU's lanes that its channels fill; None where it uses none.
    """

    layer: int
    type: str
    size: int
    channels_before: int
    channels_after: int
    params_before: int
    params_after: int
    gmacs_before: float
    gmacs_after: float
    predicted_dpu_ms_before: float
    predicted_dpu_ms_after: float
    lane_use_before: float | None
    lane_use_after: float | None

    @property
    def is_gone(self) -> bool:
        """Whether it went with its block."""
        return self.channels_after == 0

    def followed_by(self, later: LayerRow) -> LayerRow:
        """The row of both cuts, `later` being of what this one left."""
        after = {field.name: getattr(later, field.name) for field in fields(later) if field.name.endswith("_after")}
        return replace(self, **after)


@dataclass(frozen=True)
class _Cost:
    channels: int
    params: int
    gmacs: float
    ms: float
    lane_use: float | None


def layer_rows(
    full: DarknetNetwork, small: DarknetNetwork, old_layers: Sequence[int], predictions: Sequence[Prediction]
) -> tuple[LayerRow, ...]:
    """A row for every layer of `full`.

    Args:
        old_layers: for every layer of `small` which of `full` it was.
        predictions: of both networks' layers on the DPU.
    """
    before = _costs(full, predictions[0])
    after = dict(zip(old_layers, _costs(small, predictions[1]), strict=True))
    rows = []
    for index, (section, old) in enumerate(zip(full.cfg.layers, before, strict=True)):
        if section.type in HEAD_TYPES:
            continue
        new = after.get(index, _Cost(0, 0, 0.0, 0.0, None))
        rows.append(
            LayerRow(
                layer=index,
                type=section.type,
                size=section.integer("size", 1),
                channels_before=old.channels,
                channels_after=new.channels,
                params_before=old.params,
                params_after=new.params,
                gmacs_before=old.gmacs,
                gmacs_after=new.gmacs,
                predicted_dpu_ms_before=old.ms,
                predicted_dpu_ms_after=new.ms,
                lane_use_before=old.lane_use,
                lane_use_after=new.lane_use,
            )
        )
    return tuple(rows)


def print_layers(rows: Sequence[LayerRow]) -> None:
    """Print the rows as a table; on a narrow terminal its lines wrap rather than lose figures."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(layer_table(rows))


def layer_table(rows: Sequence[LayerRow]) -> Table:
    """The rows for a terminal, what grew smaller as before -> after."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, caption="DPU ms are predicted; lanes: the share of the DPU's that channels fill")
    for name in ("layer", "type", "channels", "parameters", "GMACs", "DPU ms", "lanes"):
        table.add_column(name, justify="left" if name == "type" else "right", no_wrap=True)
    for row in rows:
        kind = f"conv {row.size}x{row.size}" if row.type == "convolutional" else row.type
        cells = [str(row.layer), kind, _pair(row.channels_before, row.channels_after, "d")]
        if row.is_gone:
            cells[2] = f"{row.channels_before} -> gone"
        with_weights = row.params_before > 0
        cells.append(_pair(row.params_before, row.params_after, ",d") if with_weights else "")
        cells.append(_pair(row.gmacs_before, row.gmacs_after, ".3f") if with_weights else "")
        timed = row.predicted_dpu_ms_before > 0
        cells.append(_pair(row.predicted_dpu_ms_before, row.predicted_dpu_ms_after, ".3f") if timed else "")
        cells.append(f"{_percent(row.lane_use_before)} -> {_percent(row.lane_use_after)}" if timed else "")
        table.add_row(*cells, style="dim" if row.is_gone else None)
    return table


def _pair(before: float, after: float, form: str) -> str:
    return f"{before:{form}} -> {after:{form}}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _costs(network: DarknetNetwork, prediction: Prediction) -> list[_Cost]:
    times = {layer.name: layer for layer in prediction.layers}
    costs = []
    shapes = layer_shapes(network.cfg)
    for index, (section, module, shape) in enumerate(zip(network.cfg.layers, network.layers, shapes, strict=True)):
        channels, height, width = shape
        macs = module.conv.weight.numel() * height * width if isinstance(module, ConvolutionLayer) else 0
        params = sum(parameter.numel() for parameter in module.parameters())
        time = times.get(f"{section.type}_{index}")  # as `dpu_layers` names them
        ms, lane_use = (time.ms, time.lane_use) if time is not None and time.ms > 0 else (0.0, None)
        costs.append(_Cost(channels, params, macs / 1e9, ms, lane_use))
    return costs
