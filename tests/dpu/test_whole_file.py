"""Files that are whole or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dpu.whole_file import whole_file


def test_a_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    """What was there stays until all is written, and an error leaves it and nothing else."""
    path = tmp_path / "model"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    with whole_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["model"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """A link's target is replaced, not the link."""
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "target")
    with whole_file(link) as file:
        file.write(b"new")
    assert link.is_symlink() and (tmp_path / "there" / "target").read_bytes() == b"new"


def test_no_pipe_is_replaced(tmp_path: Path) -> None:
    """A pipe or device is refused and stays one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="expected a file, or nothing yet, found a device or pipe"), whole_file(pipe):
        pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)
