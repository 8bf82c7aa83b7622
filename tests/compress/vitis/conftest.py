"""A job folder with a small network and images, and the container's steps on the stand-ins."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from compress.darknet.model_files import save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import random_cfg, randomise
from compress.vitis.__main__ import main
from compress.vitis.testing import FAULT, module_folders

Step = Callable[..., "tuple[int, str, str]"]


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


def forget_stand_ins() -> None:
    """Let the next import of the stand-ins be the first."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("pytorch_nndct", "xir")]:
        del sys.modules[name]


@pytest.fixture
def step(job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Step]:
    """Runs one step of the job on the stand-ins, imported anew as in a process of its own; `fault` is a stand-in's."""
    for folder in module_folders():
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(job)

    def run(*argv: str, fault: str = "") -> tuple[int, str, str]:
        forget_stand_ins()
        monkeypatch.setenv(FAULT, fault)
        exit_code = main([*argv])
        return exit_code, *capsys.readouterr()

    yield run
    forget_stand_ins()
