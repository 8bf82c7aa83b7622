"""Folders that are whole or not there: filled beside their place, then renamed onto it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from board_app.core.errors import UsageError


@contextmanager
def whole_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `target` that takes its place on success and is removed on error.

    What killed runs left beside `target` is removed first.

    Args:
        target: not there, or an empty folder, or with `replace` anything.
        replace: whether what is at `target` may go, once the new folder is whole.

    Raises:
        UsageError: something is at `target` and may not go.
    """
    target = Path(os.path.abspath(target))
    check_free(target, replace)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.mkdir()
        yield partial
        _put_in_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_free(target: Path, replace: bool = False) -> None:
    """Raise UsageError if `target` holds something and `replace` is not set."""
    if not replace and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"expected nothing at {target}, found something. Name another folder or remove this one")


def _put_in_place(partial: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.{os.getpid()}.partial-old")
    if target.exists():
        os.replace(target, old)
    os.replace(partial, target)
    if old.is_dir():
        shutil.rmtree(old)
    elif old.exists():
        old.unlink()


def _remove_leftovers(target: Path) -> None:
    for path in target.parent.glob(f".{target.name}.*.partial"):
        process_id = path.name.removeprefix(f".{target.name}.").removesuffix(".partial")
        if process_id.isdigit() and not _is_running(int(process_id)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
