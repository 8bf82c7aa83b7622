"""A job folder with a small network and images, and the container's steps as processes on the stand-ins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compress.darknet.model_files import save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import random_cfg, randomise
from compress.vitis.testing import container_environment

Step = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def network() -> DarknetNetwork:
    """A network of two heads with random weights."""
    return randomise(DarknetNetwork(random_cfg(34, 6, (32, 32), slope=26 / 256)), seed=3)


@pytest.fixture
def job(tmp_path: Path, network: DarknetNetwork) -> Path:
    """A job folder with the network and six images."""
    save_model(network, tmp_path / "job" / "input")
    images = np.random.default_rng(1).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    np.save(tmp_path / "job" / "input" / "images.npy", images)
    return tmp_path / "job"


@pytest.fixture
def step(job: Path, tmp_path: Path) -> Step:
    """Run one step of the job as in the container, in a process; `fault` is a stand-in's."""

    def run(*argv: str, fault: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**container_environment(tmp_path / "programs"), "STAND_IN_FAULT": fault}
        command = [sys.executable, "-m", "compress.vitis", *argv]
        return subprocess.run(command, cwd=job, env=environment, capture_output=True, text=True, check=False)

    return run
