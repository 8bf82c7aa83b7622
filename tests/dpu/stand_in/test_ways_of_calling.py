"""Programs that call xir and vart in the ways that AMD's samples, notebooks and users do: they run unchanged.

The scripts are written for these tests after examples/vai_runtime, examples/custom_operator and the API pages of
Xilinx/Vitis-AI and after DPU-PYNQ's notebooks; they know nothing of this project.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dpu
from dpu import xmodel
from dpu.executor import Executor

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_a_script_runs_unchanged(script: Path, model: Path, tmp_path: Path) -> None:
    """In a process of its own, with only the stand-ins on PYTHONPATH: the executor's numbers."""
    pictures = np.random.default_rng(3).uniform(-1.9, 1.9, (5, 16, 16, 3)).astype(np.float32)
    np.save(tmp_path / "pictures.npy", pictures)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(model), str(tmp_path / "pictures.npy")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(dpu.stand_in_path()), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    executor = Executor(xmodel.load(model))
    inputs = np.trunc(pictures * 64).astype(np.int8)
    expected = [
        executor.run({"x_fix": picture[None]})["a_head_fix"].astype(np.float64).mean() / 4 for picture in inputs
    ]
    assert [float(word) for word in done.stdout.split()] == pytest.approx(expected, rel=1e-12)
