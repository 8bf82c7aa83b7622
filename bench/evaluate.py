"""`roadslim evaluate`: one model on one dataset, as text and as JSON."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.accuracy import held_out_split
from bench.backends import BACKENDS, Backend, PredictedDpu, default_backend
from bench.measure import accuracy_key, accuracy_result
from bench.models import Model, OnnxModel
from bench.results import SUFFIX, Result, load, save
from board_app.core.errors import UsageError

if TYPE_CHECKING:
    from compress.data.dataset import Wanted

log = logging.getLogger(__name__)


def evaluate_model(
    model: Model,
    dataset_path: Path,
    split: str | None = None,
    wanted: Wanted | None = None,
    backend_name: str | None = None,
    results: Path | None = None,
) -> Result:
    """The accuracy of the model on a split of the dataset.

    Args:
        split: by default the test split, else the val split, else all pictures.
        wanted: what is taken of the dataset: classes by other names or left out, and countries; None takes all.
        backend_name: where the network runs; by default where its file runs as it is.
        results: a folder: a result of the same model, pictures and protocol that lies there is taken, a new one is
            written there.
    Raises:
        UsageError: an unknown backend, one that is not here, or one that does not take such a model.
        InputError: something is wrong with the model, the pictures or the labels.
    """
    from compress.data.dataset import EVERYTHING, open_dataset

    backend = _backend(model, backend_name)
    split = split or held_out_split(dataset_path)
    taken = wanted or EVERYTHING
    dataset = open_dataset(dataset_path, split, taken.ignore, taken.map_classes, taken.countries)
    if results is None:
        return accuracy_result(model, backend, dataset, split)
    key = accuracy_key(model, backend, dataset)
    for path in sorted(results.glob(f"*{key[:10]}{SUFFIX}")) if results.is_dir() else ():
        kept = load(path)
        if kept.key == key:
            log.info("%-9s %s", "kept", path)
            return kept
    result = accuracy_result(model, backend, dataset, split)
    save(result, results)
    return result


def _backend(model: Model, name: str | None) -> Backend:
    if name is None:
        return default_backend(model.record.precision, isinstance(model, OnnxModel))
    known = [other for other in BACKENDS if other != PredictedDpu.name]
    if name not in known:
        raise UsageError(f"--backend: expected one of {', '.join(known)}, found {name!r}. Choose one of them.")
    backend = BACKENDS[name]
    if backend.missing():
        raise UsageError(f"--backend {name}: {backend.missing()}. Choose another one.")
    if not backend.takes(model):
        fitting = [other for other in known if BACKENDS[other].takes(model)]
        raise UsageError(f"--backend {name} does not take {model.record.path}. Choose {' or '.join(fitting)}.")
    return backend


def evaluate_document(result: Result) -> dict[str, Any]:
    """The fields of `evaluate --json`, less the versions."""
    accuracy = result.accuracy
    assert accuracy is not None
    fields = accuracy.model_dump(mode="json")
    return {
        **{name: fields[name] for name in ("map50", "map50_95", "f1", "per_class", "images", "protocol")},
        "model_sha256": result.model.sha256,
        **{name: fields[name] for name in ("f1_confidence", "dataset", "split", "dataset_sha256", "data")},
        "model": result.model.path,
        "backend": result.backend,
        "origin": result.origin,
    }


def text_of(result: Result) -> str:
    """The figures for people, classes below."""
    accuracy = result.accuracy
    assert accuracy is not None and accuracy.map50_95 is not None and accuracy.f1 is not None
    width = max(len("all"), *map(len, accuracy.per_class))
    lines = [
        f"{result.model.name} ({result.model.path}) on {accuracy.dataset}, {accuracy.split or 'all'} split "
        f"({accuracy.data}, {accuracy.images} images), {result.backend}, {result.origin}",
        f"  {'class':<{width}}  {'boxes':>6}  {'AP50':>7}  {'AP50-95':>7}  {'F1':>7}",
    ]
    boxes = sum(found.truths for found in accuracy.per_class.values())
    rows = [(name, found.truths, found.ap50, found.ap50_95, found.f1) for name, found in accuracy.per_class.items()]
    for name, truths, *shares in [*rows, ("all", boxes, accuracy.map50, accuracy.map50_95, accuracy.f1)]:
        lines.append(f"  {name:<{width}}  {truths:>6}  " + "  ".join(f"{100 * share:6.1f}%" for share in shares))
    lines.append(f"  F1 at confidence {accuracy.f1_confidence:.3f}. Counted by: {accuracy.protocol}.")
    return "\n".join(lines)
