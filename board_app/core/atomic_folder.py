"""Folders that are whole or not there, as `atomic_file` does for files."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; on success it takes its place, on error it is removed.

    Raises:
        OSError: the parent is missing or the disk is full; `folder` is then as it was before.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    before = folder.with_name(f".{folder.name}.{os.getpid()}.before")
    folder.parent.mkdir(parents=True, exist_ok=True)
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    try:
        yield partial
        for path in partial.iterdir():
            _sync(path)
        _sync(partial)
        if folder.exists():
            os.replace(folder, before)
        try:
            os.replace(partial, folder)
        except OSError:
            if before.exists():
                os.replace(before, folder)
            raise
        _sync(folder.parent)
    finally:
        for leftover in (partial, before):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            elif leftover.exists():
                leftover.unlink()
