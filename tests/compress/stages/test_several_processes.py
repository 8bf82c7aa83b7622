"""A run by two processes that compute together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from compress.config import CompressConfig, load_config
from compress.stages import STAGE_NAMES, run_stages

pytestmark = pytest.mark.slow


def start(config: Path, *flags: str) -> subprocess.Popen[str]:
    """`roadslim compress` in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "roadslim"]
    return subprocess.Popen(
        [*command, "compress", str(config), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def in_rounds(path: Path) -> CompressConfig:
    """The small run with its cut in two rounds and a training between them."""
    document = yaml.safe_load(path.read_text())
    document["prune"] |= {"rounds": 2, "between": {"epochs": 1, "batch_size": 4}}
    path.write_text(yaml.safe_dump(document))
    return load_config(path)


def test_two_processes_do_every_stage_once_and_one_goes_on_from_it(small_run: Callable[[], Path]) -> None:
    """Results are told once; what they finished is finished for a single process too."""
    path = small_run()
    config = in_rounds(path)
    process = start(path)
    output, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    assert output.count("The bundle is") == 1 and errors.count("train     done in") == 1
    before = {name: (config.folder / name / "stage.json").read_text() for name in STAGE_NAMES}
    rows = run_stages(config)["rows"]
    assert [row["model"] for row in rows] == list(STAGE_NAMES)
    assert before == {name: (config.folder / name / "stage.json").read_text() for name in STAGE_NAMES}


def test_killed_between_two_rounds_they_go_on_with_the_second(small_run: Callable[[], Path]) -> None:
    """The other process takes the main one's finished round from the run folder."""
    path = small_run()
    config = in_rounds(path)
    process = start(path, "--until", "prune")
    tuned = config.folder / "prune.partial" / "rounds" / "1" / "tuned" / "accuracy.json"
    while not tuned.exists():
        assert process.poll() is None, "it ended before its first round"
        time.sleep(0.01)
    main = int((config.folder / ".lock").read_text().split()[1])
    os.kill(main, signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode != 0
    first = tuned.stat().st_mtime_ns
    again = start(path, "--until", "prune")
    output, errors = again.communicate(timeout=900)
    assert again.returncode == 0, errors
    done = config.folder / "prune" / "rounds" / "1" / "tuned" / "accuracy.json"
    assert done.stat().st_mtime_ns == first and "Finished up to prune" in output
