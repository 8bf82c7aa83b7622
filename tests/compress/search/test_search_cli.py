"""`roadslim search` on a network and pictures so small that a trial takes seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from compress.config import load_config
from roadslim import main

SEARCH = "search: {channels: [20%, 60%], blocks: [0, 1], epochs_share: 50%, evaluate: float}\n"


@pytest.fixture
def small_search(small_run: Callable[[], Path]) -> Path:
    """The configuration of a search."""
    path = small_run()
    path.write_text(path.read_text().replace("epochs: 4", "epochs: 2") + SEARCH)
    return path


@pytest.mark.slow
def test_a_search_of_real_runs(small_search: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every trial is a finished run, one training serves them all, and the chosen config can be run."""
    assert main(["search", str(small_search), "--trials", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    config = load_config(small_search)
    folder = config.folder / "search"
    assert document["schema_version"] == 1 and "roadslim_version" in document
    finished = [row for row in document["trials"] if row["state"] == "finished"]
    assert len(finished) == 3
    weights = []
    for row in finished:
        trial = folder / f"trial-{row['number']:04}"
        report = json.loads((trial / "prune" / "prune.json").read_text())
        assert row["predicted_dpu_ms"] == report["predicted_dpu_ms_after"]
        assert row["map50"] == json.loads((trial / "summary.json").read_text())["rows"][-1]["map50_float"]
        weights += list((trial / "train").glob("model.weights")) + list((trial / "train").glob("model.safetensors"))
    assert len(list(folder.glob("train-*"))) == 1
    assert len({path.stat().st_ino for path in weights}) == 1 and len(weights) == 3  # three names of one file
    chosen = Path(document["chosen"]["config"])
    assert load_config(chosen).sparsify.epochs == config.sparsify.epochs
    assert main(["search", str(small_search), "--trials", "3"]) == 0  # nothing is left to do
    text = capsys.readouterr().out
    assert "<- chosen" in text and "3 finished" in text and "DPU ms predicted for zcu104" in text
    assert main(["compress", str(folder / "trial-0000" / "config.yaml"), "--until", "distill"]) == 0


@pytest.mark.slow
def test_an_interrupted_search_goes_on(small_search: Path) -> None:
    """Ctrl-C ends it at once with 130; the same command takes its trial up again, from its folder."""
    command = [sys.executable, "-m", "roadslim", "search", str(small_search), "--trials", "1", "--json"]
    folder = load_config(small_search).folder / "search"
    search = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(folder.glob("trial-*/sparsify.partial")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(search.pid, signal.SIGINT)
    _, told = search.communicate(timeout=60)
    assert search.returncode == 130 and "The same command goes on from here" in told and "Traceback" not in told
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in json.loads(done.stdout)["trials"] if row["state"] == "finished"]
    assert row["attempts"] == 2 and row["number"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--trials", "0"], 2, "--trials: expected a number above 0, found 0"),
        (["--trials", "1", "--max-ms", "-1"], 2, "--max-ms: expected a number above 0"),
        (
            ["--trials", "1", "--storage", "oracool://me:hidden@host/x"],
            2,
            "--storage oracool://me:***@host/x: expected",
        ),
    ],
)
def test_what_is_wrong_on_the_command_line(
    arguments: list[str], code: int, words: str, small_search: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In three parts, before anything is trained, and without a password."""
    assert main(["search", str(small_search), *arguments]) == code
    told = capsys.readouterr().err
    assert words in told and "hidden" not in told
    assert not list((load_config(small_search).folder / "search").glob("trial-*"))


def test_a_config_without_a_search(small_run: Callable[[], Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Says which keys there are."""
    assert main(["search", str(small_run()), "--trials", "1"]) == 2
    assert "[search]: expected something to vary, one of input_hw, width, blocks" in capsys.readouterr().err


def test_a_key_that_is_found_wrong_later_is_told_with_its_file(
    small_search: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for a run."""
    small_search.write_text(small_search.read_text().replace("blocks: 2", "blocks: 99"))
    assert main(["search", str(small_search), "--trials", "1"]) == 2
    assert f"{small_search}: 'blocks' in [prune]: expected at most" in capsys.readouterr().err


def test_processes_started_together_are_refused(
    small_search: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are started one by one: trials would wait for one another."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["search", str(small_search), "--trials", "1"]) == 2
    assert "search: expected one process, found 2 that were started together" in capsys.readouterr().err
    assert not load_config(small_search).folder.exists()
