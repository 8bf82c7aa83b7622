"""Trained networks that trials share: each is trained once, as a run of its own beside them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.config import CompressConfig
from compress.stages.driver import STAGES, run_stages
from compress.stages.run import Run


def share_training(config: CompressConfig) -> None:
    """Put the finished train stage into a trial's run folder, trained here if no trial needed the same one before.

    Whoever comes first trains it, in `train-KEY/`; the others wait. A killed training goes on from its checkpoint.
    """
    run, stage = Run(config), STAGES[0]
    if stage.name not in run.stages_to("distill"):
        return  # a network is given for it
    key = stage.key(run)
    own = run.folder(stage.name)
    if own.has_key(key):
        return
    digest = hashlib.sha256(json.dumps(key.document(), sort_keys=True).encode()).hexdigest()
    shared = config.model_copy(update={"name": f"train-{digest[:10]}"})
    with alone(shared.folder):
        if not Run(shared).folder(stage.name).has_key(key):
            run_stages(shared, until=stage.name)
    begun = own.path.with_name(f"{stage.name}.shared")  # no stage folder before it is whole
    shutil.rmtree(begun, ignore_errors=True)
    shutil.copytree(Run(shared).folder(stage.name).path, begun, copy_function=_link)
    shutil.rmtree(own.path, ignore_errors=True)
    os.rename(begun, own.path)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other worker on this file system has the folder, and hold it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _link(source: str, target: str) -> None:
    """A second name for a file, which stages replace but never change; a copy where there are no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
