"""A worker whose trials train nothing: `stand_in_worker.py STORAGE FOLDER TRIALS`.

An epoch takes EPOCH_S seconds and leaves a line in the trial's folder; a killed trial goes on from there.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from compress.config import CompressConfig, checked
from compress.search.loop import search
from compress.search.outcome import OnEpoch, Outcome
from compress.search.workers import Pulse

PULSE = Pulse(beat_s=0.2, dead_after_s=1.5, look_s=0.1)
EPOCHS = 6


def stand_in_config(folder: Path, **search_keys: object) -> CompressConfig:
    """A config that varies two parameters."""
    section: dict[str, object] = {"channels": [0.2, 0.8], "blocks": [0, 1], "epochs_share": 1, "stop_early": 0}
    document = {"name": "stand-in", "data": "none", "runs": str(folder), "distill": {"epochs": EPOCHS}}
    return checked(CompressConfig, document | {"search": section | search_keys}, "stand-in")


def stand_in(config: CompressConfig, evaluate: str, on_epoch: OnEpoch) -> Outcome:
    """Larger networks are better and slower; blocks cost accuracy and no time."""
    done = config.folder / "epochs.txt"
    map50 = 0.9 - 0.5 * config.prune.channels**2 - 0.1 * config.prune.blocks
    for epoch in range(len(done.read_text().splitlines()) if done.exists() else 0, EPOCHS):
        time.sleep(float(os.environ.get("EPOCH_S", "0")))
        with open(done, "a") as lines:
            lines.write(f"{epoch} {os.getpid()}\n")
        on_epoch("distill", {"epoch": epoch + 1, "map50": map50 * (epoch + 1) / EPOCHS})
    return Outcome(map50, 5 * (1 - config.prune.channels), "zcu104", round(1e6 * (1 - config.prune.channels)))


if __name__ == "__main__":
    storage, folder, trials = sys.argv[1:]
    search(stand_in_config(Path(folder)), int(trials), storage, {}, stand_in, pulse=PULSE)
