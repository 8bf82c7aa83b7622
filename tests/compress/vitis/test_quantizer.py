"""AMD's quantiser driven in the container, on its stand-in."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from compress.darknet.network import DarknetNetwork
from compress.quantization import quantize, to_xmodel
from dpu import xmodel

Step = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("correction", ["on", "off"])
def test_calibrate_and_export(step: Step, job: Path, network: DarknetNetwork, correction: str) -> None:
    """Two processes give the graph and the heads that the quantiser has for these batches, images unharmed."""
    for words in (("calibrate", "--batch", "4"), ("export",)):
        done = step(*words, "--bias-correction", correction)
        assert done.returncode == 0, done.stderr
        assert "VAIQ_ERROR" not in done.stdout and "NO_XIR" not in done.stdout
    images = torch.from_numpy(np.load(job / "input" / "images.npy")).float() / 255
    expected = quantize(network, [images[:4], images[4:]], bias_correction=correction == "on")
    graph = xmodel.load(job / "output" / "quantised.xmodel")
    assert graph.ops == to_xmodel(expected, "DarknetNetwork").ops
    heads = np.load(job / "output" / "heads.npz")
    for index, head in enumerate(expected(images)):
        np.testing.assert_array_equal(heads[f"head{index}"], head.permute(0, 2, 3, 1).numpy())


def test_calibration_that_silently_did_nothing(step: Step) -> None:
    """A calibration that prints an error and returns normally is an error here."""
    done = step("calibrate", fault="no_calibration")
    assert done.returncode == 1
    assert "expected quant_info.json from pytorch_nndct's calibration, found none" in done.stderr


def test_export_without_calibration(step: Step) -> None:
    """The export says what is missing before the quantiser ends the process without a word of ours."""
    done = step("export")
    assert done.returncode == 1 and "Run `calibrate` first" in done.stderr


def test_export_with_another_bias_correction(step: Step) -> None:
    """Calibrated without bias correction, exported with it: named before it begins."""
    assert step("calibrate", "--bias-correction", "off").returncode == 0
    done = step("export")
    assert done.returncode == 1 and "expected bias_corr.pth" in done.stderr


def test_a_quantiser_that_ends_the_process(step: Step) -> None:
    """exit(2) from inside the quantiser comes out as our error with exit code 1."""
    assert step("calibrate").returncode == 0
    done = step("export", fault="exits")
    assert done.returncode == 1 and "found that it ended with exit code 2" in done.stderr


def test_a_network_cut_in_parts(step: Step) -> None:
    """Several graphs from one network are refused by their names."""
    assert step("calibrate").returncode == 0
    done = step("export", fault="cut_graph")
    assert done.returncode == 1 and "DarknetNetwork_0_int.xmodel, DarknetNetwork_1_int.xmodel" in done.stderr


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (np.zeros((2, 3, 32, 64), np.uint8), "expected uint8 images (N, 3, 32, 32), found uint8 (2, 3, 32, 64)"),
        (np.zeros((2, 3, 32, 32), np.float32), "found float32"),
        (np.zeros((0, 3, 32, 32), np.uint8), "found uint8 (0, 3, 32, 32)"),
    ],
)
def test_wrong_images(step: Step, job: Path, images: np.ndarray, expected: str) -> None:
    """Images that do not fit the network are refused before the quantiser sees them."""
    np.save(job / "input" / "images.npy", images)
    done = step("calibrate")
    assert done.returncode == 1 and expected in done.stderr


def test_missing_inputs(step: Step, job: Path) -> None:
    """A job without a network says which file it misses."""
    (job / "input" / "model.weights").unlink()
    done = step("calibrate")
    assert done.returncode == 1 and "model.weights, found none" in done.stderr
