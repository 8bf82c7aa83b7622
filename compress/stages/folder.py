"""Run folders: every stage in its own folder, finished once, skipped while nothing it depends on changed.

A stage works in `STAGE.partial/` and takes its place as `STAGE/` when it is whole, so a killed or failed stage
leaves the last finished one as it was, and goes on from its partial folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_app.core.atomic_file import sha256_of, write_bytes, write_text
from board_app.core.errors import InputError, RoadslimError, UsageError
from compress.existing_path import nearest_existing

log = logging.getLogger(__name__)
Document = dict[str, Any]
SCHEMA_VERSION = 1  # of stage.json
_TEMPORARY = ("checkpoint.pt", "key.json")
ROUNDS = "rounds"  # of a stage that works in several: what they have done stays when it is killed
KEPT = "kept.json"  # of a cut: which channels of the network before it stayed
_WORK = ("checkpoint.pt", ROUNDS)  # what a killed run is gone on with from
_NEEDED = ("inputs", "settings", "outputs", "results", "seconds")


@dataclass(frozen=True)
class StageKey:
    """What a stage's result follows from: hashes of its inputs, and its settings (both JSON-able)."""

    inputs: Document
    settings: Document

    def document(self) -> Document:
        """As stored in stage.json."""
        return {"inputs": self.inputs, "settings": self.settings}

    def changes(self, before: Document) -> list[str]:
        """The dotted names of what is not as in an older document (`settings.training.epochs`); empty: all is."""
        now = json.loads(json.dumps(self.document()))
        return [name for part in now for name in _differences(part, before.get(part), now[part])]


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
        """The finished stage's stage.json, or None where there is none.

        Raises:
            InputError: it is damaged, or another version of Roadslim wrote it in a form of its own.
        """
        path = self.path / "stage.json"
        remedy = f"Make the stage again with --fresh {self.stage}, or give the run another `name:`"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InputError(f"expected JSON in {path}, found {error}. {remedy}") from error
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version != SCHEMA_VERSION:
            writer = document.get("roadslim_version", "unknown") if isinstance(document, dict) else "unknown"
            raise InputError(
                f"{path}: expected schema_version {SCHEMA_VERSION}, found {version}, written by Roadslim {writer}. "
                f"Go on with that version; or {remedy[0].lower()}{remedy[1:]}. Nothing was changed"
            )
        missing = [name for name in _NEEDED if name not in document]
        if missing:
            raise InputError(f"{path}: expected '{missing[0]}', found {', '.join(document)}. {remedy}")
        return dict(document)

    def finished(self) -> Document:
        """The finished stage's stage.json.

        Raises:
            InputError: the stage has not run.
        """
        document = self.read()
        if document is None:
            raise InputError(f"expected the finished stage {self.path}, found none. Run `roadslim {self.stage}` first")
        return document

    def results(self) -> Document:
        """What the finished stage found out; raises as `finished`."""
        return dict(self.finished()["results"])

    def has_key(self, key: StageKey) -> bool:
        """Whether there is a finished stage, and it came from these inputs and settings."""
        document = self.read()
        return document is not None and not key.changes(document)

    def is_finished(self, key: StageKey) -> bool:
        """Whether the finished stage has this key, its files are as it left them, and no attempt to replace it began.

        Such an attempt (one that `--fresh` began, and that was killed) has the same key, and is gone on with.
        """
        self._take_place()
        document = self.read()
        if document is None or self._is_begun(key):
            return False
        changes = key.changes(document)
        if changes:
            log.info("%s: changed since it was finished: %s; so it runs again", self.stage, ", ".join(changes))
            return False
        changed = [name for name, digest in document["outputs"].items() if _digest(self.path / name) != digest]
        if changed:
            log.warning("%s: %s changed since it was finished, so it runs again", self.stage, ", ".join(changed))
        return not changed

    def begin(self, key: StageKey) -> Path:
        """The partial folder: empty, but for the checkpoint and the rounds that a killed run with the same key left.

        What one with another key left is set aside, and taken up again when that key is back.
        """
        if not self._is_begun(key):
            self._set_aside(key)
            self._clear()
            if (aside := self._aside(_key_bytes(key))).is_dir():
                os.rename(aside, self.partial)
            else:
                self.partial.mkdir(parents=True)
                write_bytes(self.partial / "key.json", _key_bytes(key))
        for path in self.partial.iterdir():
            if path.name not in (*_TEMPORARY, ROUNDS):  # of the work after the checkpoint, which is done again
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return self.partial

    def _is_begun(self, key: StageKey) -> bool:
        marker = self.partial / "key.json"
        return marker.exists() and marker.read_bytes() == _key_bytes(key)

    def _aside(self, key_json: bytes) -> Path:
        return self.run / f"{self.stage}.stopped-{hashlib.sha256(key_json).hexdigest()[:8]}"

    def _set_aside(self, key: StageKey) -> None:
        """Put away a checkpoint that this key does not go on from, and log why and where it is."""
        if (self.partial / "stage.json").exists() or not any((self.partial / name).exists() for name in _WORK):
            return
        marker = self.partial / "key.json"
        text = marker.read_bytes() if marker.exists() else b""
        try:
            changes = ", ".join(key.changes(json.loads(text)))
            remedy = "it is gone on with when all is as it was; else remove it"
        except (AttributeError, ValueError):
            changes, remedy = "key.json is damaged", "remove it if nobody wants it"
        aside = self._aside(text)
        while aside.exists():
            aside = aside.with_name(f"{aside.name}-again")
        os.rename(self.partial, aside)
        log.warning(
            "%s: changed since it was stopped: %s; what was done until then is kept in %s: %s",
            self.stage,
            changes,
            aside,
            remedy,
        )

    def finish(self, key: StageKey, results: Document, version: str, seconds: float) -> None:
        """Write stage.json and put the partial folder in the stage's place.

        The checkpoint goes only after stage.json is written, so a full disk or a kill here costs no training.
        """
        outputs = {
            str(path.relative_to(self.partial)): sha256_of(path)
            for path in sorted(self.partial.rglob("*"))
            if path.is_file() and path.name not in _TEMPORARY
        }
        document = {
            "schema_version": SCHEMA_VERSION,
            "roadslim_version": version,
            "stage": self.stage,
            **key.document(),
        }
        document |= {"outputs": outputs, "results": results, "seconds": round(seconds, 2)}
        document["finished_utc"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        write_text(self.partial / "stage.json", json.dumps(document, indent=1) + "\n")
        self._take_place()

    def _take_place(self) -> None:
        """Move a whole partial folder, one with a stage.json, to the stage's place; also after a kill in between."""
        if not (self.partial / "stage.json").exists():
            return
        for name in _TEMPORARY:
            for path in self.partial.rglob(name):
                path.unlink()
        replaced = self.run / f"{self.stage}.replaced"
        shutil.rmtree(replaced, ignore_errors=True)
        if self.path.exists():
            os.rename(self.path, replaced)
        os.rename(self.partial, self.path)
        shutil.rmtree(replaced, ignore_errors=True)

    def discard_attempt(self, key: StageKey) -> None:
        """Forget this key's half-done attempt, set aside or not; another key's is set aside; what is finished stays."""
        if not self._is_begun(key):
            self._set_aside(key)
        self._clear()
        shutil.rmtree(self._aside(_key_bytes(key)), ignore_errors=True)

    def _clear(self) -> None:
        self._take_place()
        shutil.rmtree(self.partial, ignore_errors=True)


def _differences(name: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*now, *(key for key in before if key not in now)]
        return [inner for key in keys for inner in _differences(f"{name}.{key}", before.get(key), now.get(key))]
    return [] if before == now else [name]


def _key_bytes(key: StageKey) -> bytes:
    """As stored in key.json."""
    return json.dumps(key.document(), indent=1, sort_keys=True).encode()


def _digest(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


@contextlib.contextmanager
def exclusive(run: Path) -> Iterator[None]:
    """Hold the run folder; a second process that wants it gets an error instead of mixing its files in.

    Where the folder was made for this, and nothing came into it, it goes again.

    Raises:
        RoadslimError: another process works in the folder.
        UsageError: it is a file, or would be in one.
    """
    there = nearest_existing(run)
    if not there.is_dir():
        raise UsageError(
            f"expected a run folder at {run}, found the file {there}. Name another: --out, or `runs` and `name` in "
            "CONFIG"
        )
    run.mkdir(parents=True, exist_ok=True)
    with open(run / ".lock", "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise RoadslimError(
                f"expected {run} to be free, found another process at work in it ({handle.read().strip()}). "
                "Wait for it or choose another name"
            ) from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        handle.flush()
        try:
            yield
        finally:
            if there != run and [path.name for path in run.iterdir()] == [".lock"]:
                shutil.rmtree(run)
