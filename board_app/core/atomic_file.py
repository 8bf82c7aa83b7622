"""Files that are whole or not there: written beside their place, synced, then renamed onto it."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Union

PathLike = Union[str, "os.PathLike[str]"]


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path; on success it takes the place of `path` (of its target, if it is a link).

    Raises:
        OSError: a device or pipe stands there, the folder is missing, the disk is full; `path` is then as it was.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file() and not target.is_dir():
        raise OSError(f"{path}: expected a file, or nothing yet, found a device or pipe. Name a file.")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        with open(partial, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(partial, target)
    finally:
        if partial.exists():
            partial.unlink()


def write_bytes(path: PathLike, content: bytes) -> None:
    """Replace the file's content in one step."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: PathLike, text: str) -> None:
    """Replace the file's text (UTF-8) in one step."""
    write_bytes(path, text.encode("utf-8"))


def sha256_of(path: PathLike) -> str:
    """The file's SHA-256 as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()
