"""A search from one worker's side: trial after trial, until all workers together have finished as many as wanted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from optuna.samplers import TPESampler
from optuna.trial import Trial, TrialState

from board_app.core.atomic_file import write_text
from board_app.core.errors import RoadslimError
from compress.config import CompressConfig, checked
from compress.search.outcome import Outcome, Work, known_dpu_ms
from compress.search.slots import place_of
from compress.search.space import Settings, check_space, described, sample, with_settings
from compress.search.stopping import Course, is_behind
from compress.search.storage import open_study, reachable
from compress.search.workers import Pulse, TakenUp, Worker
from dpu.errors import DpuError

log = logging.getLogger(__name__)
PULSE = Pulse()
_FAILURES = 10  # so many trials in a row whose settings cannot be run: it is not the settings


class _Behind(Exception):
    """The trial is stopped early."""


def search_folder(config: CompressConfig) -> Path:
    """Where a search's trials and results are."""
    return config.folder / "search"


def default_storage(config: CompressConfig) -> str:
    """The journal in the search's folder."""
    return str(search_folder(config) / "journal.log")


def search(
    config: CompressConfig,
    wanted: int,
    storage: str,
    data: dict[str, Any],
    work: Work,
    on_result: Callable[[optuna.Study], object] = lambda study: None,
    pulse: Pulse = PULSE,
) -> optuna.Study:
    """Work on a search until `wanted` trials are finished, by all workers and earlier runs together; gives its study.

    Args:
        config: with its [search] section.
        wanted: trials that have a result in the end; those that were stopped early count.
        storage: URL or path, the same for all workers.
        data: hashes of the images and labels, the same for all workers.
        work: runs a trial.
        on_result: is called with the study after every trial of this worker.
        pulse: signs of life, the same for all workers.
    Raises:
        UsageError: the search cannot be run as it is written.
        RoadslimError: the storage does not answer, or ten trials in a row cannot be run: the last one's reason.
    """
    check_space(config)
    study = open_study(storage, config.name, _what_results_follow_from(config, data))
    worker, failures = Worker(study, wanted, pulse), 0
    with reachable(storage):
        while (trial := worker.take()) is not None:
            try:
                with worker.at_work(trial) as gone:
                    _Attempt(study, worker, trial, config, gone).run(work)
                failures = 0
            except TakenUp:
                log.warning(
                    "trial %d: another worker has taken it up; what was done here is not counted", place_of(trial)
                )
            except (RoadslimError, DpuError):
                failures += 1
                if failures == _FAILURES:
                    raise
            on_result(study)
    return study


def _what_results_follow_from(config: CompressConfig, data: dict[str, Any]) -> dict[str, Any]:
    """The config without what may differ from machine to machine."""
    return config.model_dump(mode="json", exclude={"runs", "threads", "workers", "data", "cache_mb"}) | {"data": data}


@dataclass
class _Attempt:
    """One attempt at a trial, by this worker."""

    study: optuna.Study
    worker: Worker
    trial: Trial
    config: CompressConfig
    gone: threading.Event

    def run(self, work: Work) -> None:
        """Run it and give it its result; raises TakenUp, or the error of settings that cannot be run."""
        number, started = place_of(self.trial), time.monotonic()
        settings = self._settings()
        log.info("trial %d: %s", number, described(settings))
        try:
            config = self._own_config(settings, number)
            self.course: dict[str, float] = dict(self.trial.user_attrs.get("course", {}))
            outcome = work(config, self.config.search.evaluate, lambda *epoch: self._after_epoch(config, *epoch))
        except _Behind as behind:
            self.worker.finish(self.trial, None)
            log.info("trial %d stopped early: %s", number, behind)
        except (RoadslimError, DpuError) as error:
            self.worker.fail(self.trial, str(error))
            log.warning("trial %d cannot be run, and does not count: %s", number, error)
            raise
        else:
            self._finish(outcome, time.monotonic() - started)

    def _settings(self) -> Settings:
        """Sampled so that they follow from the config's seed and the trial's number, whoever runs it."""
        seed = np.random.SeedSequence((self.config.seed, place_of(self.trial))).generate_state(1)[0]
        self.study.sampler = TPESampler(seed=int(seed))
        settings = sample(self.trial, self.config.search)
        self.trial.set_user_attr("settings", settings)
        return settings

    def _own_config(self, settings: Settings, number: int) -> CompressConfig:
        folder = search_folder(self.config)
        name = f"trial-{number:04}"
        document = with_settings(self.config, settings, name, folder, self.config.search.epochs_share)
        config = checked(CompressConfig, document, name)
        config.folder.mkdir(parents=True, exist_ok=True)
        text = f"# Trial {number} of the search of {self.config.name}: `roadslim compress` goes on with it.\n"
        write_text(config.folder / "config.yaml", text + yaml.safe_dump(document, sort_keys=False))
        return config

    def _after_epoch(self, config: CompressConfig, stage: str, metrics: dict[str, Any]) -> None:
        if self.gone.is_set():
            raise TakenUp
        epochs = _epochs(config).get(stage)
        if epochs is None or "map50" not in metrics:
            return
        step = f"{stage} {metrics['epoch']}/{epochs}"
        self.course[step] = metrics["map50"]
        self.trial.set_user_attr("course", self.course)
        peers = self.config.search.stop_early
        dpu_ms = known_dpu_ms(config) if peers else None
        if dpu_ms is None:
            return
        best = max(value for name, value in self.course.items() if name.startswith(f"{stage} "))
        if is_behind(step, best, dpu_ms, self._finished_courses(), peers):
            self.trial.set_user_attr("stopped", {"step": step, "map50": best, "predicted_dpu_ms": dpu_ms})
            raise _Behind(
                f"mAP50 {100 * best:.1f} % at {step}, behind the median of trials no slower than {dpu_ms:.2f} ms"
            )

    def _finished_courses(self) -> list[Course]:
        finished = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [
            Course(trial.values[1], trial.user_attrs["course"]) for trial in finished if "course" in trial.user_attrs
        ]

    def _finish(self, outcome: Outcome, seconds: float) -> None:
        self.trial.set_user_attr("params", outcome.params)
        self.trial.set_user_attr("board", outcome.board)
        self.trial.set_user_attr("seconds", round(seconds, 1))
        self.worker.finish(self.trial, (outcome.map50, outcome.dpu_ms))
        log.info(
            "trial %d finished: mAP50 %.1f %% %s, %.2f ms predicted, %s parameters, %.0f s",
            place_of(self.trial),
            100 * outcome.map50,
            self.config.search.evaluate,
            outcome.dpu_ms,
            f"{outcome.params:,}",
            seconds,
        )


def _epochs(config: CompressConfig) -> dict[str, int]:
    """Of the stages whose epochs are compared between trials."""
    epochs = {"sparsify": config.sparsify.epochs, "distill": config.distill.epochs}
    return epochs | ({"quantize": config.quantize.fine_tune.epochs} if config.quantize.fine_tune else {})
