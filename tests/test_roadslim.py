"""The one command, whatever the subcommand."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

import roadslim

PREDICT = [sys.executable, "-m", "roadslim", "predict", str(Path(__file__).parent / "compress" / "small.cfg")]


def test_a_reader_that_has_enough() -> None:
    """Output piped into something like `head` ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*PREDICT, "--layers"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_results_on_a_full_disk() -> None:
    """Results that cannot be written are an error, told in one line."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(PREDICT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "the disk is full" in done.stderr


IMPORTED = """
import os, signal, time
from contextlib import suppress
with suppress(KeyboardInterrupt):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.3)
print("imported")
def add_parser(name, parser):
    parser.set_defaults(run=lambda args: time.sleep(20))
"""


def test_an_interrupt_during_an_import_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Modules that would swallow it or fail of it are read to their end; then the one sentence and 130."""
    (tmp_path / "slow_to_import.py").write_text(IMPORTED, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(roadslim.SUBCOMMANDS, "train", ("slow_to_import", ""))
    assert roadslim.main(["train"]) == 130
    out, err = capfd.readouterr()
    assert out == "imported\n" and err.splitlines() == [
        "roadslim train: interrupted. The same command goes on from here."
    ]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("number", "path", "words"),
    [
        (errno.ENOENT, "a/b.json", "expected a file or folder at a/b.json, found none. Check the path."),
        (errno.ENOENT, "a/.b.json.417.partial", "a/b.json: expected the folder a, found none. Make it first"),
        (errno.EACCES, "a/.b.json.417.partial", "expected access to a/b.json, found no permission. Change"),
        (errno.EISDIR, "a", "expected a file at a, found a folder. Name a file."),
        (errno.ENOTDIR, "a/b", "a/b: expected a folder on the way to it, found a file. Check the path."),
    ],
)
def test_errors_of_the_file_system_have_three_parts(
    number: int, path: str, words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the user's path, not our temporary one."""

    def run(args: object) -> int:
        raise OSError(number, os.strerror(number), path)

    module = types.SimpleNamespace(add_parser=lambda name, parser: parser.set_defaults(run=run))
    monkeypatch.setitem(sys.modules, "failing", module)
    monkeypatch.setitem(roadslim.SUBCOMMANDS, "train", ("failing", ""))
    assert roadslim.main(["train"]) == 1
    assert capfd.readouterr().err.startswith(f"roadslim train: {words}")


@pytest.mark.parametrize(("argv", "advised"), [(["config.yaml"], True), (["--cfg", "a.cfg"], False)])
def test_an_interrupt_promises_only_what_a_run_folder_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str], advised: bool
) -> None:
    """A stage of a configuration goes on where it was; a network that flags name begins again."""

    def interrupted(name: str, rest: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(roadslim, "_run", interrupted)
    assert roadslim.main(["quantize", *argv]) == 130
    assert ("goes on from here" in capsys.readouterr().err) is advised
