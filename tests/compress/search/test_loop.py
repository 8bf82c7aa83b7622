"""Trials one after the other, in this process, with nothing trained."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from board_app.core.errors import RoadslimError, UsageError
from compress.config import CompressConfig, load_config
from compress.search.loop import search
from compress.search.outcome import OnEpoch, Outcome
from compress.search.slots import ENDED, place_of
from compress.search.testing import EPOCHS, PULSE, stand_in, stand_in_config


def run(config: CompressConfig, wanted: int, work: Any = stand_in, data: str = "the same") -> optuna.Study:
    return search(config, wanted, str(config.runs / "journal.log"), {"val": data}, work, pulse=PULSE)


def results(study: optuna.Study) -> list[tuple[dict[str, Any], list[float] | None]]:
    return [(trial.params, trial.values) for trial in study.get_trials()]


def test_a_search_goes_on_to_as_many_trials_as_wanted(tmp_path: Path) -> None:
    """In one go or in several, on any storage, the same trials come of the same seed."""
    config = stand_in_config(tmp_path / "at-once")
    at_once = run(config, 11)
    assert len(at_once.trials) == 11 and all(trial.state is TrialState.COMPLETE for trial in at_once.trials)
    assert run(config, 5).trials == at_once.trials  # more than wanted are there
    config = stand_in_config(tmp_path / "in-parts")
    for wanted in (4, 11):
        in_parts = search(config, wanted, f"sqlite:///{tmp_path}/search.db", {"val": "the same"}, stand_in)
    assert results(in_parts) == results(at_once)
    assert len({str(params) for params, _ in results(at_once)}) == 11


def test_a_trial_is_a_run_of_its_own(tmp_path: Path) -> None:
    """Its config is in its folder, and is one that `roadslim compress` takes."""
    config = stand_in_config(tmp_path)
    study = run(config, 2)
    for trial in study.trials:
        folder = tmp_path / "stand-in" / "search" / f"trial-{trial.number:04}"
        made = load_config(folder / "config.yaml")
        assert made.folder == folder and made.prune.target_ms == trial.params["target_ms"]


def test_trials_that_fall_behind_are_stopped_and_count(tmp_path: Path) -> None:
    """None of the front is; what was stopped tells where."""
    everything = run(stand_in_config(tmp_path / "all"), 20)
    study = run(stand_in_config(tmp_path / "early", stop_early=2), 20)
    stopped = [trial for trial in study.trials if trial.state is TrialState.PRUNED]
    assert len(study.trials) == 20 and stopped
    for trial in stopped:
        assert trial.params["blocks"] == "1"  # which costs accuracy and no time
        assert trial.user_attrs["stopped"]["step"] == f"distill 1/{EPOCHS}"
    assert len(everything.best_trials) >= len(study.best_trials) > 1


def test_settings_that_cannot_be_run_do_not_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The others go on, and as many finish as were wanted."""

    def fussy(config: CompressConfig, evaluate: str, on_epoch: OnEpoch) -> Outcome:
        if config.prune.blocks:
            raise RoadslimError("expected no blocks, found one. Leave it")
        return stand_in(config, evaluate, on_epoch)

    study = run(stand_in_config(tmp_path), 4, fussy)
    failed = [trial for trial in study.trials if ENDED in trial.user_attrs]
    assert sum(trial.state is TrialState.COMPLETE for trial in study.trials) == 4 and failed
    assert all(trial.user_attrs["reason"].startswith("expected no blocks") for trial in failed)
    assert "cannot be run, and does not count: expected no blocks" in caplog.text


def test_ten_failures_in_a_row_are_no_accident(tmp_path: Path) -> None:
    """The last one's reason is told; when it is mended, the search goes on to its full number."""

    def broken(config: CompressConfig, evaluate: str, on_epoch: OnEpoch) -> Outcome:
        raise RoadslimError("expected a network, found none. Make one")

    config = stand_in_config(tmp_path)
    with pytest.raises(RoadslimError, match="expected a network"):
        run(config, 4, broken)
    study = run(config, 4)
    assert [trial.user_attrs.get(ENDED) for trial in study.trials] == ["failed"] * 10 + [None] * 4


@pytest.mark.parametrize("end", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_trial_is_gone_on_with(tmp_path: Path, end: type[BaseException]) -> None:
    """At once, with its settings, in its folder, and what was known of it."""

    def interrupted(config: CompressConfig, evaluate: str, on_epoch: OnEpoch) -> Outcome:
        def until_the_third(stage: str, metrics: dict[str, Any]) -> None:
            on_epoch(stage, metrics)
            if metrics["epoch"] == 3:
                raise end

        return stand_in(config, evaluate, until_the_third)

    config = stand_in_config(tmp_path)
    with pytest.raises(end):
        run(config, 2, interrupted)
    study = run(config, 2)
    first, second, third = study.trials
    assert (first.state, second.state, third.state) == (TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE)
    assert place_of(second) == 0 and second.params == first.params and third.params != first.params
    lines = (tmp_path / "stand-in" / "search" / "trial-0000" / "epochs.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [str(epoch) for epoch in range(EPOCHS)]
    assert list(second.user_attrs["course"]) == [f"distill {epoch}/{EPOCHS}" for epoch in range(1, EPOCHS + 1)]


@pytest.mark.parametrize("still_s", [0, 3 * PULSE.beat_s])
def test_a_worker_that_was_thought_dead_gives_way(
    still_s: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its trial went to another one while it stood still: it stops, and its result is not counted."""
    config = stand_in_config(tmp_path)
    storage = str(tmp_path / "journal.log")

    def stood_still(config: CompressConfig, evaluate: str, on_epoch: OnEpoch) -> Outcome:
        study = optuna.load_study(
            study_name="stand-in",
            storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(storage)),
        )
        (trial,) = study.get_trials()[-1:]
        if trial.number == 0:  # as another worker would
            study.tell(0, state=TrialState.FAIL)
            again = optuna.create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={"place": 0},
            )
            study.add_trial(again)
            time.sleep(still_s)
        return stand_in(config, evaluate, on_epoch)

    study = run(config, 1, stood_still)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert "trial 0: another worker has taken it up" in caplog.text


def test_a_study_of_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    """Its trials could not be compared; the keys that differ are named, and nothing is changed."""
    config = stand_in_config(tmp_path)
    before = run(config, 2).trials
    changed = config.model_copy(update={"distill": config.distill.model_copy(update={"batch_size": 4})})
    with pytest.raises(UsageError, match=r"found others: distill\.batch_size\. Set them back, or give the search an"):
        run(changed, 3)
    with pytest.raises(UsageError, match=r"found others: data\.val\."):
        run(config, 3, data="others")
    elsewhere = config.model_copy(update={"threads": 3, "data": Path("elsewhere")})  # machines differ in these
    assert run(elsewhere, 2).trials == before


def test_progress_is_told_in_plain_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What every trial is, and what it came to."""
    with caplog.at_level(logging.INFO):
        run(stand_in_config(tmp_path), 1)
    began, ended = caplog.messages
    assert began.startswith("trial 0: blocks ") and ", target_ms " in began
    assert ended.startswith("trial 0 finished: mAP50 ") and " ms predicted, " in ended
    assert json.dumps(began).isascii()
