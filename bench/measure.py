"""Measurements as results: accuracy, predicted time, and the interleaved timing of everything that runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.accuracy import evaluate, protocol_of
from bench.backends import BACKENDS, Backend, PredictedDpu
from bench.environment import Environment, read_environment, usable_cores
from bench.latency import BLOCK, WARM_UP, interleaved
from bench.load import LoadWatch
from bench.models import Model
from bench.progress import progress_bar
from bench.results import ModelRecord, Result, key_of, now
from bench.statistics import doubts, summarise
from bench.summary import label_of
from roadslim import roadslim_version

if TYPE_CHECKING:
    from compress.data.dataset import Dataset

log = logging.getLogger(__name__)


def identity_of(record: ModelRecord) -> dict[str, Any]:
    """What makes a model this model: its files; name and place in the table do not count."""
    return {"sha256": record.sha256, "cfg_sha256": record.cfg_sha256}


def accuracy_key(model: Model, backend: Backend, dataset: Dataset) -> str:
    """Key of an accuracy result: the model, the pictures, how it is counted, and where it runs."""
    return key_of(
        metric="accuracy",
        model=identity_of(model.record),
        dataset=dataset.fingerprint(),
        protocol=protocol_of(model),
        backend=backend.name,
    )


def accuracy_result(model: Model, backend: Backend, dataset: Dataset, split: str | None) -> Result:
    """Evaluate the model on the dataset."""
    session = backend.open(model, 1)  # threads over pictures waste less than threads inside a small network
    with progress_bar(f"accuracy of {model.record.name}", len(dataset.samples)) as progress:
        accuracy = evaluate(model, session, dataset, split, usable_cores(), progress)
    return Result(
        roadslim_version=roadslim_version(),
        key=accuracy_key(model, backend, dataset),
        session="accuracy",
        created=now(),
        metric="accuracy",
        origin=backend.origin,
        backend=backend.name,
        model=model.record,
        scope="whole detector: letterbox, network, decoding, NMS",
        settings=backend.identity() | session.settings,
        accuracy=accuracy,
        environment=read_environment(),
    )


def predicted_result(model: Model, board: str) -> Result:
    """The predicted DPU time of one core."""
    backend = PredictedDpu(board)
    prediction = backend.predict(model)
    column = backend.name if board == "zcu104" else f"{backend.name}_{board}"
    settings = {name: getattr(prediction, name) for name in ("board", "dpu_mhz", "cores", "fps_all_cores")}
    settings |= {"low_ms": prediction.low_ms, "high_ms": prediction.high_ms}
    return Result(
        roadslim_version=roadslim_version(),
        key=key_of(metric="latency", model=identity_of(model.record), backend=column),
        session="predicted",
        created=now(),
        metric="latency",
        origin="predicted",
        backend=column,
        model=model.record,
        scope=backend.scope,
        settings=settings,
        samples_ms=[prediction.dpu_ms],
        statistics=summarise([prediction.dpu_ms]),
    )


@dataclass(frozen=True)
class Timing:
    """One network on one backend, to be timed."""

    model: Model
    backend: Backend
    samples: int
    threads: int

    @property
    def key(self) -> str:
        """Key of its result."""
        return key_of(
            metric="latency",
            model=identity_of(self.model.record),
            backend=self.backend.name,
            identity=self.backend.identity(),
            samples=self.samples,
            threads=self.threads,
            schedule=[WARM_UP, BLOCK],
        )


def timings_of(models: Sequence[Model], backends: Sequence[str], samples: int, threads: int) -> list[Timing]:
    """Every model on every backend that is here and takes it; what is left out is logged."""
    timings = []
    for name in backends:
        backend = BACKENDS[name]
        if name == PredictedDpu.name:
            continue
        missing = backend.missing()
        if missing:
            log.info("%-9s %s: %s", "left out", label_of(name), missing)
            continue
        timings += [Timing(model, backend, samples, threads) for model in models if backend.takes(model)]
    return timings


def latency_results(timings: Sequence[Timing]) -> list[Result]:
    """Time them all interleaved in one session."""
    sessions = {timing.key: timing.backend.open(timing.model, timing.threads) for timing in timings}
    environment = read_environment()
    created, watch = now(), LoadWatch()
    samples = max(timing.samples for timing in timings)
    with progress_bar(f"time of {len(sessions)} networks on their backends", samples) as progress:
        taken = interleaved(sessions, samples, progress=progress)
    disturbances = watch.reasons()
    name = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        _latency_result(timing, sessions[timing.key].settings, taken, environment, disturbances).model_copy(
            update={"session": name, "created": created}
        )
        for timing in timings
    ]


def _latency_result(
    timing: Timing,
    settings: Mapping[str, Any],
    taken: Mapping[str, list[float]],
    environment: Environment,
    disturbances: list[str],
) -> Result:
    samples_ms = taken[timing.key]
    reasons = doubts(samples_ms) + disturbances
    return Result(
        roadslim_version=roadslim_version(),
        key=timing.key,
        session="",
        created=now(),
        metric="latency",
        origin=timing.backend.origin,
        backend=timing.backend.name,
        model=timing.model.record,
        scope=timing.backend.scope,
        settings=timing.backend.identity()
        | dict(settings)
        | {"warm_up": WARM_UP, "block": BLOCK, "interleaved_with": len(taken) - 1},
        samples_ms=samples_ms,
        statistics=summarise(samples_ms),
        environment=environment,
        verdict="INVALID" if reasons else "VALID",
        reasons=reasons,
    )
