"""`roadslim bench run`: everything a plan asks for, keeping what was measured before under the same conditions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from bench.backends import BACKENDS, Backend, PredictedDpu, default_backend
from bench.measure import (
    Timing,
    accuracy_key,
    accuracy_result,
    latency_results,
    predicted_result,
    timings_of,
)
from bench.models import Model, OnnxModel, open_model
from bench.plan import Plan
from bench.published import published_results
from bench.results import SUFFIX, Result, load, save
from roadslim import roadslim_version

log = logging.getLogger(__name__)


def run_plan(plan: Plan, out: Path, fresh: bool = False) -> list[Result]:
    """Measure what is not yet in the folder, and write one JSON file per result as soon as it is there.

    Results of the folder that the plan no longer asks for (a model changed) are renamed to *.superseded.json.

    Args:
        out: the folder of results.
        fresh: measure everything again.
    Raises:
        InputError: a model or the dataset is missing or wrong; nothing is measured then.
    """
    models = [
        open_model(choice.path, choice.cfg, name=choice.name, position=position)
        for position, choice in enumerate(plan.models)
    ]
    kept = {} if fresh else _results_in(out)
    store = _Store(out, kept)
    if plan.published:
        for result in published_results(roadslim_version()):
            store.add_unless_kept(result)
    if PredictedDpu.name in plan.backends:
        for model in filter(BACKENDS[PredictedDpu.name].takes, models):
            store.add(predicted_result(model, plan.board))
    _measure_accuracy(plan, models, store)
    _measure_latency(timings_of(models, plan.backends, plan.samples, plan.threads), store)
    _supersede(out, store.results)
    return store.results


class _Store:
    """Results as they come: kept from before or new, written at once, in the models' present names and places."""

    def __init__(self, out: Path, kept: dict[str, Result]) -> None:
        self._out, self._kept = out, kept
        self.results: list[Result] = []

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    def keep(self, key: str, model: Model) -> None:
        """Take a result from before, for a model that may have another name or place now."""
        self.add(self._kept[key].model_copy(update={"model": model.record}))

    def add_unless_kept(self, result: Result) -> None:
        """Take the result from before if there is one, else this."""
        self.add(self._kept.get(result.key, result))

    def add(self, result: Result) -> None:
        """Write a result."""
        save(result, self._out)
        self.results.append(result)


def _measure_accuracy(plan: Plan, models: Sequence[Model], store: _Store) -> None:
    if plan.dataset is None:
        return
    from compress.data.dataset import open_dataset

    chosen = plan.dataset
    dataset = open_dataset(chosen.path, chosen.split, chosen.ignore, chosen.map, chosen.countries)
    for model in models:
        backend = _accuracy_backend(model, plan.backends)
        key = accuracy_key(model, backend, dataset)
        if key in store:
            log.info("%-9s accuracy of %s", "kept", model.record.name)
            store.keep(key, model)
        else:
            store.add(accuracy_result(model, backend, dataset, plan.dataset.split))


def _accuracy_backend(model: Model, names: Sequence[str]) -> Backend:
    for name in names:
        backend = BACKENDS[name]
        if name != PredictedDpu.name and backend.takes(model) and not backend.missing():
            return backend
    return default_backend(model.record.precision, isinstance(model, OnnxModel))


def _measure_latency(timings: Sequence[Timing], store: _Store) -> None:
    """All of one session or none: times that were not taken interleaved are no fair comparison."""
    if not timings:
        return
    if all(timing.key in store for timing in timings):
        log.info("%-9s times of %d networks on their backends (--fresh measures again)", "kept", len(timings))
        for timing in timings:
            store.keep(timing.key, timing.model)
        return
    for result in latency_results(timings):
        store.add(result)


def _results_in(folder: Path) -> dict[str, Result]:
    if not folder.is_dir():
        return {}
    return {result.key: result for result in map(load, sorted(folder.glob(f"*{SUFFIX}")))}


def _supersede(out: Path, results: Sequence[Result]) -> None:
    current = {result.file_name for result in results}
    for path in sorted(out.glob(f"*{SUFFIX}")):
        if path.name not in current:
            path.rename(path.with_name(path.name.removesuffix(SUFFIX) + ".superseded.json"))
            log.info("%-9s %s: the plan asks for other inputs now", "set aside", path.name)
