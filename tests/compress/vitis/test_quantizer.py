"""AMD's quantiser driven in the container, on its stand-in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from board_app.core.errors import InputError
from compress.darknet.network import DarknetNetwork
from compress.quantization import quantize, to_xmodel
from compress.vitis.job import Job, VitisError
from compress.vitis.quantizer import calibrate, export
from dpu import xmodel

Step = Callable[..., "tuple[int, str, str]"]


@pytest.mark.parametrize("correction", ["on", "off"])
def test_calibrate_and_export(step: Step, job: Path, network: DarknetNetwork, correction: str) -> None:
    """Calibrating and exporting give the quantiser's graph and heads for these batches, the images unharmed."""
    for words in (("calibrate", "--batch", "4"), ("export",)):
        exit_code, out, err = step(*words, "--bias-correction", correction)
        assert exit_code == 0, err
        assert "VAIQ_ERROR" not in out and "NO_XIR" not in out
    images = torch.from_numpy(np.load(job / "input" / "images.npy")).float() / 255
    expected = quantize(network, [images[:4], images[4:]], bias_correction=correction == "on")
    graph = xmodel.load(job / "output" / "quantised.xmodel")
    assert graph.ops == to_xmodel(expected, "DarknetNetwork").ops
    heads = np.load(job / "output" / "heads.npz")
    for index, head in enumerate(expected(images)):
        np.testing.assert_array_equal(heads[f"head{index}"], head.permute(0, 2, 3, 1).numpy())


def test_calibration_that_silently_did_nothing(step: Step) -> None:
    """A calibration that prints an error and returns normally is an error here."""
    exit_code, _, err = step("calibrate", fault="no_calibration")
    assert exit_code == 1
    assert "expected quant_info.json from pytorch_nndct's calibration, found none" in err


def test_export_without_calibration(job: Path) -> None:
    """The export says what is missing before the quantiser ends the process without a word of ours."""
    with pytest.raises(VitisError, match=r"expected quant_info\.json of a calibration .* Run `calibrate` first"):
        export(Job(job), bias_correction=False)


def test_export_with_another_bias_correction(job: Path) -> None:
    """Calibrated without bias correction, exported with it: named before it begins."""
    Job(job).calibration.mkdir(parents=True)
    (Job(job).calibration / "quant_info.json").write_text("{}")
    with pytest.raises(VitisError, match=r"expected bias_corr\.pth"):
        export(Job(job), bias_correction=True)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("exits", "found that it ended with exit code 2"),
        ("cut_graph", "DarknetNetwork_0_int.xmodel, DarknetNetwork_1_int.xmodel"),
    ],
)
def test_an_export_that_goes_wrong(step: Step, job: Path, network: DarknetNetwork, fault: str, expected: str) -> None:
    """exit(2) from inside the quantiser, and several graphs from one network, come out as our errors."""
    Job(job).calibration.mkdir(parents=True)
    (Job(job).calibration / "quant_info.json").write_text("{}")
    torch.save([torch.rand(1, 3, 32, 32)], Job(job).calibration / "stand_in_batches.pth")
    exit_code, _, err = step("export", "--bias-correction", "off", fault=fault)
    assert exit_code == 1 and expected in err


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (np.zeros((2, 3, 32, 64), np.uint8), "expected uint8 images (N, 3, 32, 32), found uint8 (2, 3, 32, 64)"),
        (np.zeros((2, 3, 32, 32), np.float32), "found float32"),
        (np.zeros((0, 3, 32, 32), np.uint8), "found uint8 (0, 3, 32, 32)"),
    ],
)
def test_wrong_images(job: Path, images: np.ndarray, expected: str) -> None:
    """Images that do not fit the network are refused before the quantiser sees them."""
    np.save(job / "input" / "images.npy", images)
    with pytest.raises(InputError) as caught:
        calibrate(Job(job), 4, bias_correction=True)
    assert expected in str(caught.value)


def test_images_that_are_no_array(job: Path) -> None:
    """Rubbish in the place of the images is named."""
    (job / "input" / "images.npy").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="expected a numpy array"):
        calibrate(Job(job), 4, bias_correction=True)


@pytest.mark.parametrize("name", ["model.cfg", "model.weights", "images.npy"])
def test_missing_inputs(job: Path, name: str) -> None:
    """A job that is not whole says which file it misses."""
    (job / "input" / name).unlink()
    with pytest.raises(InputError, match=f"{name}, found none"):
        calibrate(Job(job), 4, bias_correction=True)


def test_outside_the_container(job: Path) -> None:
    """Without pytorch_nndct the error says where it is."""
    with pytest.raises(VitisError, match="Run this in Vitis AI's container"):
        calibrate(Job(job), 4, bias_correction=True)
