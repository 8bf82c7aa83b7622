"""Workers that share a search: each trial counts once, and a dead worker's trial is taken up again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from compress.search.slots import Slot, slots_of
from compress.search.testing import EPOCHS, PASSWORD

StartWorker = Callable[[str, int, float], subprocess.Popen[str]]


def trials_of(storage: str) -> list[FrozenTrial]:
    storage = storage.replace("postgresql://", "postgresql+psycopg2://")
    opened = storage if "://" in storage else JournalStorage(JournalFileBackend(storage))
    return optuna.load_study(study_name="stand-in", storage=opened).get_trials()


def finished_slots(storage: str) -> list[Slot]:
    return [slot for slot in slots_of(trials_of(storage)) if slot.is_finished]


def epochs_of(folder: Path, place: int) -> list[tuple[int, int]]:
    """The epochs of a trial, each with the process that did it."""
    lines = (folder / "stand-in" / "search" / f"trial-{place:04}" / "epochs.txt").read_text().splitlines()
    return [(int(epoch), int(pid)) for epoch, pid in map(str.split, lines)]


def begun_trial_of(folder: Path, pid: int) -> int:
    """Wait until a process is in the middle of a trial; gives its place."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in sorted((folder / "stand-in" / "search").glob("trial-*/epochs.txt")):
            lines = path.read_text().splitlines()
            if 2 <= len(lines) < EPOCHS and lines[-1].split()[1] == str(pid):
                return int(path.parent.name.removeprefix("trial-"))
        time.sleep(0.02)
    raise AssertionError("the worker began no trial")


def let_one_die(storage: str, folder: Path, start: StartWorker, workers: int, trials: int) -> None:
    """Kill one of some workers in the middle of a trial, and check what the others make of it."""
    started = [start(storage, trials, 0.15) for _ in range(workers)]
    victim = started[0]
    place = begun_trial_of(folder, victim.pid)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    for worker in started[1:]:
        _, told = worker.communicate(timeout=120)
        assert worker.returncode == 0 and PASSWORD not in told, told

    slots = finished_slots(storage)
    assert len(slots) == trials
    assert not [trial for trial in trials_of(storage) if not trial.state.is_finished()]
    assert all([attempt.state for attempt in slot.attempts].count(TrialState.COMPLETE) == 1 for slot in slots)
    killed = next(slot for slot in slots if slot.number == place)
    first, last = killed.attempts[0], killed.current
    assert first.state is TrialState.FAIL and last.number != first.number and last.params == first.params
    for slot in slots:
        done = epochs_of(folder, slot.number)
        assert [epoch for epoch, _ in done] == list(range(EPOCHS))  # none twice, none left out
        assert len({pid for _, pid in done}) == (2 if slot.number == place else 1)


def test_two_workers_share_a_journal_file_and_one_dies(tmp_path: Path, start_worker: StartWorker) -> None:
    """The other one goes on with the dead one's trial, from its folder; no trial is lost or counted twice."""
    let_one_die(str(tmp_path / "journal.log"), tmp_path, start_worker, workers=2, trials=4)


@pytest.mark.slow
def test_four_workers_share_a_postgresql_server_and_one_dies(
    postgresql_url: str, tmp_path: Path, start_worker: StartWorker
) -> None:
    """As with a journal file, on a real server; its password is in no file."""
    let_one_die(postgresql_url, tmp_path, start_worker, workers=4, trials=16)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD in path.read_text()]
