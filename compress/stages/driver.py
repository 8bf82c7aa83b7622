"""Which stages there are, and running them: each once, in order, from where the run was stopped."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from board_app.core.atomic_file import write_text
from board_app.core.errors import InputError, UsageError
from compress.config import CompressConfig
from compress.stages.folder import StageFolder, StageKey, exclusive
from compress.stages.int8 import bundle_key, quantize_key, run_bundle, run_quantize
from compress.stages.preflight import check_before
from compress.stages.pruning import prune_key, run_prune
from compress.stages.run import Run
from compress.stages.training import distill_key, run_distill, run_sparsify, run_train, sparsify_key, train_key
from compress.training import processes
from compress.training.batch import Metrics
from compress.training.heap import keep_freed_memory
from compress.training.memory import enough_memory
from compress.training.repeatable import repeatable
from roadslim import roadslim_version

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A stage: what its result follows from, and the work, which fills its folder and gives its results.

    Attributes:
        version: of its algorithm; raised when the same inputs and settings come to another result, so that what an
            older Roadslim made is not taken for it.
    """

    name: str
    version: int
    inputs_and_settings: Callable[[Run], StageKey]
    work: Callable[[Run, Path], dict[str, Any]]

    def key(self, run: Run) -> StageKey:
        """What its result follows from, the version of the algorithm included."""
        key = self.inputs_and_settings(run)
        return StageKey(key.inputs, key.settings | {"version": self.version})


STAGES = (
    Stage("train", 3, train_key, run_train),
    Stage("sparsify", 3, sparsify_key, run_sparsify),
    Stage("prune", 4, prune_key, run_prune),
    Stage("distill", 4, distill_key, run_distill),
    Stage("quantize", 3, quantize_key, run_quantize),
    Stage("bundle", 1, bundle_key, run_bundle),
)
INT8_STAGES = ("quantize", "bundle")
STAGE_NAMES = tuple(stage.name for stage in STAGES)


def run_stages(
    config: CompressConfig,
    until: str = STAGE_NAMES[-1],
    fresh: str | None = None,
    on_epoch: Callable[[str, Metrics], None] | None = None,
) -> dict[str, Any]:
    """Run every stage that leads to `until` and is not finished, and `fresh` in any case. Gives the summary.

    `on_epoch` is called after every epoch, with the stage's name and the epoch's metrics; what it raises stops the run.
    """
    run = Run(config, on_epoch)
    wanted = [stage for stage in STAGES if stage.name in run.stages_to(until)]
    if fresh is not None and fresh not in [stage.name for stage in wanted]:
        raise UsageError(
            f"--fresh {fresh}: expected a stage that leads to --until {until}, found that this run has "
            f"{', '.join(stage.name for stage in wanted)}. Take one of them, or correct --until or the CONFIG"
        )
    with _held(config.folder):
        check_before(run, [stage.name for stage in wanted])
        for stage in wanted:
            _run_stage(run, stage, stage.name == fresh)
        return processes.from_main(lambda: _summary(run))


def run_single_stage(config: CompressConfig, name: str, fresh: bool = False) -> dict[str, Any]:
    """Run one stage from its predecessors' finished folders, or the networks given for them; gives its results."""
    run = Run(config)
    with _held(config.folder):
        check_before(run, [name])
        _run_stage(run, STAGES[STAGE_NAMES.index(name)], fresh)
        processes.from_main(lambda: _summary(run))
    return _with_size(run, name, run.folder(name).results())


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The run folder, held by the main process for all; only that one writes to it and tells what is done."""
    if processes.is_main():
        with exclusive(folder):
            yield
        return
    logging.getLogger().setLevel(logging.WARNING)
    yield


def _run_stage(run: Run, stage: Stage, fresh: bool) -> None:
    folder, key = run.folder(stage.name), stage.key(run)
    if processes.from_main(lambda: not fresh and folder.is_finished(key)):
        log.info("%-9s finished before, kept", stage.name)
        return
    torch.set_num_threads(processes.threads(run.config.threads))
    keep_freed_memory()
    started = time.monotonic()
    height, width = run.config.network.input_hw
    memory = enough_memory(
        f"{stage.name}: expected memory for a network of {height}x{width} pixels",
        "Make the input smaller, or, where the stage reads pictures, lower cache_mb, workers or batch_size; what was "
        "finished is kept",
    )
    with memory, _workplace(folder, key, fresh) as place, repeatable():
        results = stage.work(run, place)
        processes.gathered(None)  # none of them works any more
    seconds = time.monotonic() - started
    processes.from_main(lambda: folder.finish(key, results, roadslim_version(), seconds))
    log.info(
        "%-9s done in %s: %s",
        stage.name,
        _duration(seconds),
        _headline(_with_size(run, stage.name, results), run.folder(stage.name).path),
    )


@contextlib.contextmanager
def _workplace(folder: StageFolder, key: StageKey, fresh: bool) -> Iterator[Path]:
    """Where this process works: the main one in the partial folder, each other in a copy of it that goes again."""

    def begin() -> Path:
        if fresh:
            folder.discard_attempt(key)
        return folder.begin(key)

    partial = processes.from_main(begin)
    with contextlib.ExitStack() as stack:
        place = partial
        if not processes.is_main():
            place = Path(stack.enter_context(tempfile.TemporaryDirectory())) / partial.name
            shutil.copytree(partial, place)
        processes.gathered(None)  # every copy is whole
        yield place


def _with_size(run: Run, stage: str, results: dict[str, Any]) -> dict[str, Any]:
    """The results; of the int8 stages with the size of the network that they took over."""
    return run.size("distill") | results if stage in INT8_STAGES else results


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _headline(results: dict[str, Any], folder: Path) -> str:
    """The results in a line: sizes, mAPs, and where the bundle is."""
    parts = [str(folder / results["bundle"])] if "bundle" in results else []
    if "params" in results:
        parts.append(f"{results['params']:,} parameters, {results['gmacs']:.3f} GMACs")
    if "predicted_dpu_ms" in results:
        parts.append(f"{results['predicted_dpu_ms']:.2f} ms predicted on the DPU")
    if "compact_vs_masked_max_abs" in results:
        parts.append(f"compact_vs_masked_max_abs {results['compact_vs_masked_max_abs']:.1e}")
    if "map50_float" in results:  # of quantize its own is the int8 one
        int8 = results.get("map50_int8", results.get("map50"))
        parts.append(f"mAP50 float {_percent(results['map50_float'])}, int8 {_percent(int8)} on the validation split")
    elif "map50" in results:
        parts.append(f"mAP50 {_percent(results['map50'])} on the validation split")
    return ", ".join(parts)


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{100 * share:.1f} %"


def _summary(run: Run) -> dict[str, Any]:
    """Write summary.json: what each finished stage has, in the words of `bench table --json` where they meet.

    A stage that is missing, of another version, or older than its inputs or settings has no row, nor has any that
    needs it: they are no part of this run any more. A stage that a given network stands for has none either.
    """
    rows: list[dict[str, Any]] = []
    for stage in STAGES:
        if stage.name not in run.stages_to(STAGE_NAMES[-1]):
            continue
        if not run.stages_to(stage.name) <= {stage.name, *(row["model"] for row in rows)}:
            continue
        folder = run.folder(stage.name)
        try:
            document = folder.read()
            if document is None or not folder.has_key(stage.key(run)):
                continue
        except InputError:  # told by whoever needs that stage
            continue
        results = document["results"]
        row: dict[str, Any] = {"model": stage.name, "input_hw": list(run.config.network.input_hw)}
        sized = _with_size(run, stage.name, results)
        row |= {name: sized[name] for name in ("params", "gmacs")}
        int8 = stage.name in INT8_STAGES
        row["map50_float"] = results.get("map50_float") if int8 else results.get("map50")
        row["map50_int8"] = results.get("map50_int8", results.get("map50")) if int8 else None
        row |= {"latency_ms": {}, "sha256": _model_hash(document["outputs"]), "seconds": document["seconds"]}
        rows.append(row)
    summary = {"schema_version": 1, "roadslim_version": roadslim_version(), "name": run.config.name, "rows": rows}
    write_text(run.config.folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


def _model_hash(outputs: dict[str, str]) -> str | None:
    names = [name for name in outputs if name.endswith((".weights", ".xmodel"))]
    return outputs[names[0]] if names else None
