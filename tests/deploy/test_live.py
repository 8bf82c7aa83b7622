"""`roadslim live`: the board application here, on the software DPU."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from board_app.cli import add_arguments
from board_app.core.bundle import Bundle
from deploy.cli import _Recorded

LIVE = [sys.executable, "-m", "roadslim", "live"]
SOURCE = ["--source", "drive:1?size=160x120&fps=10"]


def test_it_runs_on_the_software_dpu(small_bundle: Bundle, tmp_path: Path) -> None:
    """The application's own summary comes out, with the flags handed through."""
    records = tmp_path / "my detections.jsonl"
    flags = ["--max-frames", "5", "--detections", str(records), "--no-web", "--json", "--pace", "predicted"]
    done = subprocess.run([*LIVE, str(small_bundle.path), *SOURCE, *flags], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["frames_done"], summary["model_sha256"]) == (5, small_bundle.model_sha256)
    assert summary["origin"] == "simulated"
    assert len(records.read_text().splitlines()) == 5


def test_the_application_s_exit_code(small_bundle: Bundle, tmp_path: Path) -> None:
    """Its errors and exit codes are this command's."""
    absent = subprocess.run([*LIVE, str(tmp_path / "no.bundle"), *SOURCE, "--no-web"], capture_output=True, text=True)
    assert (absent.returncode, "expected a bundle" in absent.stderr) == (1, True)
    usage = subprocess.run([*LIVE, str(small_bundle.path), "--source", "drive:x"], capture_output=True, text=True)
    assert usage.returncode == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals(small_bundle: Bundle, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """SIGINT and SIGTERM end the application, which counts its frames and leaves no process behind."""
    records = tmp_path / "detections.jsonl"
    command = [*LIVE, str(small_bundle.path), *SOURCE, "--no-web", "--json", "--detections", str(records)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 30
        while not (records.exists() and records.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(number)
        out, err = running.communicate(timeout=20)
    assert running.returncode == code, err
    summary = json.loads(out)
    assert summary["frames_in"] == summary["frames_done"] + summary["frames_dropped"] > 0


@pytest.mark.parametrize(
    "words",
    [
        ["--source=-"],
        ["--source=drive:1", "--loop", "--seconds=2.5", "--threads=3", "--json", "--no-web"],
        ["--source=a b", "--confidence=0.5", "--detections=/x y/d.jsonl", "--listen=127.0.0.1:1", "--release=--r"],
    ],
)
def test_flags_are_handed_through(words: list[str]) -> None:
    """What the user gave is given on, word for word as another parser reads it, and nothing else."""
    parser = argparse.ArgumentParser()
    flags = _Recorded(parser)
    add_arguments(flags)  # type: ignore[arg-type]
    given = parser.parse_args(words)
    assert sorted(flags.given(given)) == sorted(words)
    assert parser.parse_args(flags.given(given)) == given
