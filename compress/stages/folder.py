"""Run folders: every stage in its own folder, finished once, skipped while nothing it depends on changed.

A stage works in `STAGE.partial/` and takes its place as `STAGE/` when it is whole, so a killed or failed stage
leaves the last finished one as it was, and goes on from its partial folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_app.core.atomic_file import sha256_of, write_text
from board_app.core.errors import InputError, RoadslimError

log = logging.getLogger(__name__)
Document = dict[str, Any]
_TEMPORARY = ("checkpoint.pt", "key.json")


@dataclass(frozen=True)
class StageKey:
    """What a stage's result follows from: hashes of its inputs, and its settings (both JSON-able)."""

    inputs: Document
    settings: Document

    def document(self) -> Document:
        """As stored in stage.json."""
        return {"inputs": self.inputs, "settings": self.settings}


@dataclass(frozen=True)
class StageFolder:
    """One stage of one run."""

    run: Path
    stage: str

    @property
    def path(self) -> Path:
        """Where the finished stage lives."""
        return self.run / self.stage

    @property
    def partial(self) -> Path:
        """Where the stage works until it is finished."""
        return self.run / f"{self.stage}.partial"

    def read(self) -> Document | None:
        """The finished stage's stage.json, or None where there is none."""
        try:
            return dict(json.loads((self.path / "stage.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InputError(
                f"expected JSON in {self.path / 'stage.json'}, found {error}. Run it again: --fresh {self.stage}"
            ) from error

    def results(self) -> Document:
        """What the finished stage found out.

        Raises:
            InputError: the stage has not run.
        """
        document = self.read()
        if document is None:
            raise InputError(f"expected the finished stage {self.path}, found none. Run `roadslim {self.stage}` first")
        return dict(document["results"])

    def has_key(self, key: StageKey) -> bool:
        """Whether there is a finished stage, and it came from these inputs and settings."""
        document = self.read()
        if document is None:
            return False
        return {name: document.get(name) for name in key.document()} == json.loads(json.dumps(key.document()))

    def is_finished(self, key: StageKey) -> bool:
        """Whether the finished stage has this key, its files are as it left them, and no attempt to replace it began.

        Such an attempt (one that `--fresh` began, and that was killed) has the same key, and is gone on with.
        """
        self._take_place()
        document = self.read()
        if document is None or self._is_begun(key):
            return False
        if not self.has_key(key):
            log.info("%s: its inputs or settings changed, so it runs again", self.stage)
            return False
        changed = [name for name, digest in document["outputs"].items() if _digest(self.path / name) != digest]
        if changed:
            log.warning("%s: %s changed since it was finished, so it runs again", self.stage, ", ".join(changed))
        return not changed

    def begin(self, key: StageKey) -> Path:
        """The partial folder: empty, but for the checkpoint where a killed run with the same key left one."""
        if not self._is_begun(key):
            self.discard_attempt()
            self.partial.mkdir(parents=True)
            write_text(self.partial / "key.json", _key_text(key))
        for path in self.partial.iterdir():
            if path.name not in _TEMPORARY:  # of the work after the checkpoint, which is done again
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return self.partial

    def _is_begun(self, key: StageKey) -> bool:
        marker = self.partial / "key.json"
        return marker.exists() and marker.read_text(encoding="utf-8") == _key_text(key)

    def finish(self, key: StageKey, results: Document, version: str, seconds: float) -> None:
        """Write stage.json and put the partial folder in the stage's place.

        The checkpoint goes only after stage.json is written, so a full disk or a kill here costs no training.
        """
        outputs = {
            str(path.relative_to(self.partial)): sha256_of(path)
            for path in sorted(self.partial.rglob("*"))
            if path.is_file() and path.name not in _TEMPORARY
        }
        document = {"schema_version": 1, "roadslim_version": version, "stage": self.stage, **key.document()}
        document |= {"outputs": outputs, "results": results, "seconds": round(seconds, 2)}
        document["finished_utc"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        write_text(self.partial / "stage.json", json.dumps(document, indent=1) + "\n")
        self._take_place()

    def _take_place(self) -> None:
        """Move a whole partial folder, one with a stage.json, to the stage's place; also after a kill in between."""
        if not (self.partial / "stage.json").exists():
            return
        for name in _TEMPORARY:
            (self.partial / name).unlink(missing_ok=True)
        replaced = self.run / f"{self.stage}.replaced"
        shutil.rmtree(replaced, ignore_errors=True)
        if self.path.exists():
            os.rename(self.path, replaced)
        os.rename(self.partial, self.path)
        shutil.rmtree(replaced, ignore_errors=True)

    def discard_attempt(self) -> None:
        """Forget a half-done attempt; the finished stage stays as it is until the next one is whole."""
        self._take_place()
        shutil.rmtree(self.partial, ignore_errors=True)


def _key_text(key: StageKey) -> str:
    return json.dumps(key.document(), indent=1, sort_keys=True)


def _digest(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


@contextlib.contextmanager
def exclusive(run: Path) -> Iterator[None]:
    """Hold the run folder; a second process that wants it gets an error instead of mixing its files in.

    Raises:
        RoadslimError: another process works in the folder.
    """
    run.mkdir(parents=True, exist_ok=True)
    with open(run / ".lock", "w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RoadslimError(
                f"expected {run} to be free, found another process at work in it. Wait for it or choose another name"
            ) from error
        yield
