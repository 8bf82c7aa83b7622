"""Files that are whole or not there, in the two places that the import rules keep apart."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from board_app.core.atomic_file import replacing
from dpu.whole_file import whole_file

Writing = Callable[[Path], AbstractContextManager[Callable[[bytes], int]]]


@contextmanager
def _by_replacing(path: Path) -> Iterator[Callable[[bytes], int]]:
    with replacing(path) as partial:
        yield partial.write_bytes


@contextmanager
def _by_whole_file(path: Path) -> Iterator[Callable[[bytes], int]]:
    with whole_file(path) as file:
        yield file.write


both = pytest.mark.parametrize("writing", [_by_replacing, _by_whole_file], ids=["board_app", "dpu"])


@both
def test_a_file_takes_its_place_at_the_end(tmp_path: Path, writing: Writing) -> None:
    """What was there stays until all is written, and an error leaves it and nothing else."""
    path = tmp_path / "model"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), writing(path) as write:
        write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    with writing(path) as write:
        write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["model"]


@both
def test_a_link_stays_a_link(tmp_path: Path, writing: Writing) -> None:
    """A link's target is replaced, not the link."""
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "target")
    with writing(link) as write:
        write(b"new")
    assert link.is_symlink() and (tmp_path / "there" / "target").read_bytes() == b"new"


@both
def test_no_pipe_is_replaced(tmp_path: Path, writing: Writing) -> None:
    """A pipe or device is refused and stays one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="expected a file, or nothing yet, found a device or pipe"), writing(pipe):
        pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)
