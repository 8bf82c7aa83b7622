"""Searches whose trials train nothing, for tests.

As a program it is a worker: `python -m compress.search.testing STORAGE FOLDER TRIALS EPOCH_S`.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from pathlib import Path

from compress.config import CompressConfig, checked
from compress.search.loop import search
from compress.search.outcome import OnEpoch, Outcome
from compress.search.workers import Pulse

PULSE = Pulse(beat_s=0.2, dead_after_s=1.5, look_s=0.1)
EPOCHS = 5
PASSWORD = "not-to-be-told"  # of a database made for a test


def stand_in_config(folder: Path, **search_keys: object) -> CompressConfig:
    """A config that varies two parameters, and whose runs are in a folder."""
    section: dict[str, object] = {"target_ms": [1, 4], "blocks": [0, 1], "epochs_share": 1, "stop_early": 0}
    document = {"name": "stand-in", "data": "none", "runs": str(folder), "distill": {"epochs": EPOCHS}}
    return checked(CompressConfig, document | {"search": section | search_keys}, "stand-in")


def stand_in(config: CompressConfig, evaluate: str, on_epoch: OnEpoch, epoch_s: float = 0.0) -> Outcome:
    """Slower networks are better, blocks cost accuracy and no time.

    An epoch takes `epoch_s` and leaves a line with its number and its process in the trial's folder, in epochs.txt; a
    trial that was stopped goes on after the last one.
    """
    done = config.folder / "epochs.txt"
    dpu_ms = config.prune.target_ms or 5.0
    map50 = 0.3 + 0.1 * dpu_ms - 0.2 * int(config.prune.blocks)
    for epoch in range(len(done.read_text().splitlines()) if done.exists() else 0, EPOCHS):
        time.sleep(epoch_s)
        with open(done, "a") as lines:
            lines.write(f"{epoch} {os.getpid()}\n")
        on_epoch("distill", {"epoch": epoch + 1, "map50": map50 * (epoch + 1) / EPOCHS})
    return Outcome(map50, dpu_ms, config.prune.board, round(1e5 * dpu_ms))


if __name__ == "__main__":
    storage, folder, trials, seconds = sys.argv[1:]
    work = functools.partial(stand_in, epoch_s=float(seconds))
    search(stand_in_config(Path(folder)), int(trials), storage, {}, work, pulse=PULSE)
