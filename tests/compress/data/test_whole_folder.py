"""Folders that are whole or not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from board_app.core.errors import UsageError
from compress.data.whole_folder import whole_folder


def test_in_place_when_done(tmp_path: Path) -> None:
    """The folder appears at the end, where nothing or an empty folder was, parents too."""
    for target in (tmp_path / "a/b", tmp_path / "a/c"):
        target.mkdir(parents=True) if target.name == "c" else None
        with whole_folder(target) as partial:
            (partial / "file").write_text("x")
            assert not (target / "file").exists()
        assert (target / "file").read_text() == "x"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b", "c"]


def test_nothing_left_after_an_error(tmp_path: Path) -> None:
    """An error inside leaves no folder, neither whole nor partial, and what was there stays."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old/file").write_text("old")
    for target, replace in ((tmp_path / "new", False), (tmp_path / "old", True)):
        with pytest.raises(OSError, match="full"), whole_folder(target, replace) as partial:
            (partial / "file").write_text("x")
            raise OSError("the disk is full")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old/file").read_text() == "old"


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_is_there_stays(tmp_path: Path, is_folder: bool) -> None:
    """A folder with something in it, or a file, is replaced only when asked."""
    target = tmp_path / "there"
    if is_folder:
        target.mkdir()
        (target / "precious").touch()
    else:
        target.touch()
    with pytest.raises(UsageError, match="found something"), whole_folder(target):
        raise AssertionError("must not come here")
    with whole_folder(target, replace=True) as partial:
        (partial / "file").touch()
    assert [path.name for path in target.iterdir()] == ["file"]
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_leftovers_of_a_killed_run_go(tmp_path: Path) -> None:
    """What a killed run left beside the target is removed by the next run; a living run's is not."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    dead = tmp_path / f".set.{ended.pid}.partial"
    alive = tmp_path / ".set.1.partial"
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "half").touch()
    with whole_folder(tmp_path / "set"):
        pass
    assert not dead.exists() and alive.exists()
