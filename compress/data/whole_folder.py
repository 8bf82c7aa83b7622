"""Folders for datasets: whole or not there, and nothing of the user's is replaced unasked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from board_app.core.atomic_folder import replacing_folder
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
    _remove_leftovers(target)
    with replacing_folder(target) as partial:
        yield partial


def check_free(target: Path, replace: bool = False) -> None:
    """Raise UsageError if `target` holds something and `replace` is not set."""
    if not replace and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"expected nothing at {target}, found something. Name another folder or remove this one")


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
