"""The result of one measurement as one JSON document: tables, reports and comparisons are made from it alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.environment import Environment
from bench.statistics import Statistics
from board_app.core.atomic_file import write_text
from board_app.core.errors import InputError

SCHEMA_VERSION: Final = 1
SUFFIX = ".result.json"

Origin = Literal["measured", "simulated", "predicted", "published"]
Metric = Literal["latency", "accuracy"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelRecord(_Part):
    """Which network was measured.

    Attributes:
        name: as it stands in the table.
        path: as given, relative; None for published figures.
        sha256: of the weights, .onnx or .xmodel file; None for published figures.
        cfg_sha256: of the .cfg that belongs to the weights.
        quantised_from: `sha256` of the float network that an int8 one was made from.
        params: with the batch norms' scales and shifts as trained; None where unknown.
        gmacs: 10^9 multiply-accumulates for one picture.
        position: place in the table.
    """

    name: str
    path: str | None = None
    sha256: str | None = None
    cfg_sha256: str | None = None
    precision: Literal["float32", "int8"] = "float32"
    quantised_from: str | None = None
    input_hw: tuple[int, int] | None = None
    params: int | None = None
    gmacs: float | None = None
    position: int = 0


class ClassRecord(_Part):
    """One class of an accuracy result."""

    ap50: float
    ap50_95: float
    f1: float
    truths: int


class AccuracyRecord(_Part):
    """Accuracy on a dataset, all shares of 1; `data` says in words what kind of pictures it has."""

    map50: float
    map50_95: float | None = None
    f1: float | None = None
    f1_confidence: float | None = None
    per_class: dict[str, ClassRecord] = Field(default_factory=dict)
    images: int | None = None
    protocol: str
    dataset: str
    split: str | None = None
    dataset_sha256: str | None = None
    data: str


class Result(_Part):
    """One measurement.

    Attributes:
        key: hash of everything the result follows from; a result with the wanted key need not be measured again.
        session: results of one session were measured interleaved with each other.
        scope: what is inside the measured time, in words.
        settings: threads, warm-up, interleaving and what else shaped it.
        samples_ms: every sample in the order taken; one value where the time is predicted or published.
        reasons: why the verdict is INVALID.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    roadslim_version: str
    key: str
    session: str
    created: datetime
    metric: Metric
    origin: Origin
    backend: str
    model: ModelRecord
    scope: str
    settings: dict[str, Any] = Field(default_factory=dict)
    samples_ms: list[float] = Field(default_factory=list)
    statistics: Statistics | None = None
    accuracy: AccuracyRecord | None = None
    environment: Environment | None = None
    verdict: Literal["VALID", "INVALID"] = "VALID"
    reasons: list[str] = Field(default_factory=list)

    @property
    def file_name(self) -> str:
        """Name of the JSON file: readable, and one for each key."""
        plain = re.sub(r"[^A-Za-z0-9.]+", "_", f"{self.model.name}.{self.backend}.{self.metric}")
        return f"{plain}.{self.key[:10]}{SUFFIX}"


def key_of(**parts: Any) -> str:
    """SHA-256 of the JSON of everything that a result follows from."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def now() -> datetime:
    """The time, UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def save(result: Result, folder: Path) -> Path:
    """Write a result's JSON file into the folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / result.file_name
    write_text(path, result.model_dump_json(indent=1) + "\n")
    return path


def load(path: Path) -> Result:
    """Read one result.

    Raises:
        InputError: no JSON, another schema version, or fields that are missing, unknown or of the wrong type.
    """
    remedy = "Measure again: roadslim bench run PLAN --fresh"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected a result's JSON, found {error}. {remedy}") from None
    found = document.get("schema_version") if isinstance(document, dict) else None
    if found != SCHEMA_VERSION:
        raise InputError(f"{path}: expected schema_version {SCHEMA_VERSION}, found {found!r}. {remedy}")
    try:
        return Result.model_validate(document)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}" for mistake in error.errors()[:5])
        raise InputError(f"{path}: expected a result of schema {SCHEMA_VERSION}, found {lines}. {remedy}") from None


def load_all(paths: Sequence[Path]) -> list[Result]:
    """Read result files and every result in folders (and the folders in them), each result once.

    Raises:
        InputError: a path is missing, a file is no result, or there is no result at all.
    """
    results: dict[tuple[str, str], Result] = {}
    for path in _files(paths):
        result = load(path)
        same = (result.key, result.model.name)
        if same not in results or results[same].created <= result.created:
            results[same] = result
    if not results:
        names = ", ".join(map(str, paths))
        raise InputError(f"expected results (*{SUFFIX}) in {names}, found none. Make them: roadslim bench run PLAN")
    return sorted(results.values(), key=lambda result: (result.model.position, result.backend, result.metric))


def _files(paths: Sequence[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.rglob(f"*{SUFFIX}"))
        elif path.is_file():
            yield path
        else:
            raise InputError(f"expected a result or a folder of results at {path}, found nothing. Check the path.")
