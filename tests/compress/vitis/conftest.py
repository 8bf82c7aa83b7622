"""A job folder with a small network and images, and the container's steps as processes on the stand-ins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compress.darknet.cfg import parse_cfg
from compress.darknet.model_files import save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import randomise
from compress.vitis.testing import container_environment

CFG = """
[net]
height=32
width=32
channels=3
leaky_slope=0.1015625
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=14
activation=linear
[yolo]
anchors=4,5, 10,8
num=2
classes=2
[route]
layers=-3
[maxpool]
size=2
stride=2
[convolutional]
filters=14
activation=linear
[yolo]
anchors=8,10, 20,30
num=2
classes=2
"""
Step = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def network() -> DarknetNetwork:
    """A network of two heads with random weights."""
    return randomise(DarknetNetwork(parse_cfg(CFG, "tiny.cfg")), seed=3)


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
