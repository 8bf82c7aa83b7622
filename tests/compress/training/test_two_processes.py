"""A stage that two processes train together, started as `torchrun` starts them, against one alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each process imports torch anew
EPOCHS = 17  # of three steps
TRAIN = f"train: {{epochs: {EPOCHS}, batch_size: 4, micro_batch: 2, statistics_batch: 2, evaluate_every: {EPOCHS}}}"
PATIENCE_S = 120


@pytest.fixture
def config(small_run) -> Path:
    """A small training of 51 steps."""
    path: Path = small_run()
    lines = path.read_text().splitlines()
    path.write_text("\n".join(TRAIN if line.startswith("train:") else line for line in lines) + "\n")
    return path


@pytest.fixture
def start() -> Iterator[object]:
    """Starts `roadslim train CONFIG` in so many processes."""
    started: list[subprocess.Popen[str]] = []

    def processes(config: Path, count: int) -> list[subprocess.Popen[str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for rank in range(count):
            environment = os.environ | {
                **{"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
                **{"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)},
                **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            }
            command = [sys.executable, "-m", "roadslim", "train", str(config)]
            started.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
        return started[-count:]

    yield processes
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finished(processes: list[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    """What each wrote, when all have ended well."""
    outputs = [process.communicate(timeout=PATIENCE_S) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return outputs


def losses(stage: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (stage / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_have_the_loss_curve_of_one(config: Path, start, tmp_path: Path) -> None:
    """Over 51 steps to 1e-3, also when one was killed on the way and the same command went on.

    The other one ends by itself, and says what happened and what to do.
    """
    stage = config.parent / "runs" / "small" / "train"
    finished(start(config, 1))
    alone = losses(stage)
    assert len(alone) == EPOCHS

    config.write_text(config.read_text().replace("name: small", "name: two"))
    stage = config.parent / "runs" / "two" / "train"
    main, other = start(config, 2)
    end = time.monotonic() + PATIENCE_S
    metrics = stage.with_name("train.partial") / "metrics.jsonl"
    while not metrics.exists() and main.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    other.send_signal(signal.SIGKILL)
    _, message = main.communicate(timeout=PATIENCE_S)
    assert main.returncode == 1, message
    assert "expected all 2 processes to go on together, found one gone" in message
    assert "the same command goes on from the last checkpoint" in message and "Traceback" not in message
    kept = losses(stage.with_name("train.partial"))
    assert 0 < len(kept) < EPOCHS

    (output, log), (quiet, silent) = finished(start(config, 2))
    assert f"going on after epoch {len(kept)} of {EPOCHS}" in log and "mAP50" in output
    assert not quiet and "epoch" not in silent  # only the main process talks
    assert losses(stage) == pytest.approx(alone, rel=1e-3)
    assert not stage.with_name("train.partial").exists()
