"""From results to the rows of the summary table: one row a network, its int8 form beside its float one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bench.results import ModelRecord, Origin, Result
from bench.statistics import PERSONAL
from roadslim import roadslim_version

SCHEMA_VERSION = 1
_MOST_NAMED = 4  # figures that one reason spoils, by name; above it only their number
INT8_WEIGHTS = (
    "mAP50 int8: of the network quantised from the row's float one; where its run sets quantize.fine_tune it was "
    "trained on after that, so its weights are not merely the float ones rounded."
)
LABELS = {
    "torch_cpu": "torch CPU",
    "onnxruntime_cpu": "ONNX Runtime CPU",
    "torch_cuda": "torch CUDA",
    "software_dpu": "software DPU",
    "dpu": "ZCU104 DPU",
    "rtx_2080_ti": "RTX 2080 Ti",
}


def label_of(backend: str) -> str:
    """A backend's name in tables; `dpu_BOARD` is the DPU of another board."""
    if backend.startswith("dpu_"):
        return f"{backend.removeprefix('dpu_').upper()} DPU"
    return LABELS.get(backend, backend)


@dataclass(frozen=True)
class Latency:
    """A time in ms with what must be said beside it."""

    p50: float
    p90: float | None
    origin: Origin
    verdict: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A mAP50, 0 to 1, and its origin."""

    value: float
    origin: Origin


@dataclass
class Row:
    """One network.

    Attributes:
        params_fewer: share of the largest network's parameters that it lacks; 0 for the largest.
        latency_ms: by backend.
    """

    model: str
    record: ModelRecord
    params_fewer: float | None = None
    map50_float: Figure | None = None
    map50_int8: Figure | None = None
    latency_ms: dict[str, Latency] = field(default_factory=dict)

    @property
    def params(self) -> int | None:
        """Trained parameters."""
        return self.record.params


@dataclass(frozen=True)
class Summary:
    """The table.

    Attributes:
        rows: our networks, in the order of the plan.
        published: the original work's, not comparable but for the idea.
        backends: columns of times, in order, for our rows.
        data: what the mAP was counted on, in words.
        conditions: how the figures were obtained, a sentence each.
        doubts: why which figures are INVALID, each reason once.
        results: everything it was made from.
    """

    rows: tuple[Row, ...]
    published: tuple[Row, ...]
    backends: tuple[str, ...]
    data: tuple[str, ...]
    conditions: tuple[str, ...]
    doubts: tuple[str, ...]
    results: tuple[Result, ...]

    def document(self) -> dict[str, Any]:
        """As `bench table --json` gives it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "roadslim_version": roadslim_version(),
            "data": list(self.data),
            "rows": [_row_document(row) for row in self.rows],
            "published_rows": [_row_document(row) for row in self.published],
            "conditions": list(self.conditions),
        }


def summarise_results(results: Sequence[Result]) -> Summary:
    """Sort results into rows; an int8 network joins the row of the float one it was quantised from."""
    ours = [result for result in results if result.origin != "published"]
    theirs = [result for result in results if result.origin == "published"]
    rows, published = _rows(ours), _rows(theirs)
    found = {backend for row in rows for backend in row.latency_ms}
    known = [backend for backend in LABELS if backend in found]
    return Summary(
        rows=tuple(rows),
        published=tuple(published),
        backends=(*known, *sorted(found - set(known))),
        data=tuple(sorted({_data(result) for result in ours if result.accuracy})),
        conditions=tuple(_conditions(ours)),
        doubts=tuple(_doubts(ours)),
        results=tuple(results),
    )


def _rows(results: Sequence[Result]) -> list[Row]:
    rows: list[Row] = []
    for result in sorted(results, key=lambda result: (result.model.precision != "float32", result.model.position)):
        for row in _rows_of(result.model, rows):
            _fill(row, result)
    most = max((row.params or 0 for row in rows), default=0)
    for row in rows:
        row.params_fewer = 1 - row.params / most if row.params and most else None
    return sorted(rows, key=lambda row: row.record.position)


def _rows_of(model: ModelRecord, rows: list[Row]) -> list[Row]:
    """The rows that a result of this model belongs to; a new one where there is none yet."""
    own = [row for row in rows if row.model == model.name and row.record.sha256 == model.sha256]
    sources = [row for row in rows if model.quantised_from and row.record.sha256 == model.quantised_from]
    if own or sources:
        return own or sources
    rows.append(Row(model.name, model))
    return rows[-1:]


def _fill(row: Row, result: Result) -> None:
    if result.accuracy:
        figure = Figure(result.accuracy.map50, result.origin)
        if result.model.precision == "int8":
            row.map50_int8 = figure
        else:
            row.map50_float = figure
    elif result.statistics:
        latency = Latency(
            result.statistics.p50, result.statistics.p90, result.origin, result.verdict, tuple(result.reasons)
        )
        row.latency_ms[result.backend] = latency  # the DPU's time: int8 results come last, so the real graph counts


def _row_document(row: Row) -> dict[str, Any]:
    record = row.record
    return {
        "model": row.model,
        "input_hw": list(record.input_hw) if record.input_hw else None,
        "params": record.params,
        "params_fewer": row.params_fewer,
        "gmacs": record.gmacs,
        "map50_float": row.map50_float.value if row.map50_float else None,
        "map50_int8": row.map50_int8.value if row.map50_int8 else None,
        "map50_origin": {
            name: figure.origin
            for name, figure in (("float", row.map50_float), ("int8", row.map50_int8))
            if figure is not None
        },
        "latency_ms": {
            backend: {
                "p50": latency.p50,
                "p90": latency.p90,
                "origin": latency.origin,
                "verdict": latency.verdict,
            }
            for backend, latency in row.latency_ms.items()
        },
        "sha256": record.sha256,
    }


def _data(result: Result) -> str:
    accuracy = result.accuracy
    assert accuracy is not None
    split = f" {accuracy.split} split" if accuracy.split else ""
    return f"{accuracy.data or accuracy.dataset} ({accuracy.dataset}{split}, {accuracy.images} images)"


def _conditions(results: Sequence[Result]) -> list[str]:
    """How the figures were obtained, each fact once: machine, accuracy, times taken, times predicted."""
    order = list(LABELS)
    ordered = sorted(results, key=lambda result: order.index(result.backend) if result.backend in order else len(order))
    lines = dict.fromkeys(line for result in ordered for line in _conditions_of(result))
    return sorted(lines, key=lambda line: (not line.startswith("Machine"), not line.startswith("mAP50")))


def _conditions_of(result: Result) -> list[str]:
    label = label_of(result.backend)
    lines = []
    if result.environment:
        machine = result.environment
        memory = f", {machine.memory_gb:g} GB" if machine.memory_gb else ""
        gpu = f", {machine.gpu}" if machine.gpu else ""
        lines.append(f"Machine: {machine.cpu_model}, {machine.cpu_cores} cores{memory}{gpu}, {machine.system}.")
    if result.accuracy:
        lines.append(f"mAP50: {result.accuracy.protocol}.")
        if result.model.precision == "int8":
            lines.append(INT8_WEIGHTS)
    elif result.origin == "predicted":
        settings = result.settings
        lines.append(f"{label}: {result.scope}; {settings.get('dpu_mhz', 0):g} MHz. No board was used.")
    else:
        settings = result.settings
        facts = [f"{name.replace('_', ' ')} {settings[name]}" for name in ("threads", "batch_norm") if name in settings]
        lines.append(
            f"{label}: {result.scope}; {', '.join(facts)}; median of {len(result.samples_ms)} samples after "
            f"{settings.get('warm_up')} warm-up runs, all networks and backends in turn, {_day(result.created)}."
        )
    return lines


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _doubts(results: Sequence[Result]) -> list[str]:
    """Each reason once, with the figures it spoils; what comes before the colon of a reason is its kind."""
    invalid = [result for result in results if result.verdict == "INVALID"]
    spoiled: dict[str, list[Result]] = {}
    for result in invalid:
        for reason in result.reasons:
            kind = reason.split(":")[0] if reason.startswith(PERSONAL) else reason
            spoiled.setdefault(kind, []).append(result)
    timed = sum(len(result.samples_ms) > 1 for result in results)
    return [
        f"{kind} ({'all' if len(found) == timed else len(found)} of {timed} times)"
        if len(found) > _MOST_NAMED
        else f"{kind} ({', '.join(f'{r.model.name} on {label_of(r.backend)}' for r in found)})"
        for kind, found in spoiled.items()
    ]
