"""The one command, whatever the subcommand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
