"""The figures of the original work, which this project measures itself against. Nothing here was measured by us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.results import AccuracyRecord, ModelRecord, Result, key_of, now
from bench.statistics import summarise

DATA = "the original work's own road images, not ours"
SOURCE = (
    "as published; the code base it was made with times batch 1 without warm-up or device synchronisation, "
    "batch normalisation not folded, decoding inside, NMS outside"
)
_PROTOCOL = (
    "as published; the code base it was made with counts mAP at IoU 0.5 from confidence 0.001, merging NMS at IoU 0.5, "
    "one class per box"
)
_BACKEND = "rtx_2080_ti"


@dataclass(frozen=True)
class _Row:
    name: str
    params: int
    map50: float
    latency_ms: float


_ROWS = (
    _Row("YOLOv3-608", 61_550_659, 0.935, 11.2),
    _Row("YOLOv3-608 pruned", 3_251_639, 0.924, 1.8),
)


def published_results(roadslim_version: str) -> list[Result]:
    """The published rows as results, origin `published`."""
    results = []
    for position, row in enumerate(_ROWS):
        model = ModelRecord(name=row.name, input_hw=(608, 608), params=row.params, position=1000 + position)
        common: dict[str, Any] = {
            "roadslim_version": roadslim_version,
            "session": "published",
            "created": now(),
            "origin": "published",
            "backend": _BACKEND,
            "model": model,
            "scope": SOURCE,
        }
        results.append(
            Result(
                **common,
                metric="latency",
                key=key_of(published=row.name, metric="latency"),
                samples_ms=[row.latency_ms],
                statistics=summarise([row.latency_ms]),
            )
        )
        accuracy = AccuracyRecord(map50=row.map50, protocol=_PROTOCOL, dataset="original", data=DATA)
        results.append(
            Result(**common, metric="accuracy", key=key_of(published=row.name, metric="accuracy"), accuracy=accuracy)
        )
    return results
