"""Every backend gives the network's heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.backends import BACKENDS, default_backend
from bench.backends.base import as_heads, as_input, fixed_picture
from bench.models import NetworkModel, XmodelModel, open_model
from board_app.core.int8_input import quantise_pixels
from compress.darknet.fold import folded
from compress.darknet.network import ConvolutionLayer
from dpu.executor import Executor


def _heads(run_folder: Path) -> list[np.ndarray]:
    model = open_model(run_folder / "distill")
    assert isinstance(model, NetworkModel)
    with torch.inference_mode():
        outputs = model.network(torch.from_numpy(as_input(fixed_picture(model.spec.input_hw))))
    return as_heads([output.numpy() for output in outputs])


@pytest.mark.parametrize(
    ("backend", "file"),
    [("torch_cpu", "distill"), ("onnxruntime_cpu", "distill"), ("onnxruntime_cpu", "distill.onnx")],
)
def test_float_backends_agree_with_the_network(run_folder: Path, backend: str, file: str) -> None:
    """Folding and exporting change nothing but the last digits."""
    model = open_model(run_folder / file)
    session = BACKENDS[backend].open(model, threads=1)
    found = session.forward(fixed_picture(model.spec.input_hw))
    for head, expected in zip(found, _heads(run_folder), strict=True):
        np.testing.assert_allclose(head, expected, rtol=0, atol=1e-4)
    session.run()
    assert session.settings["batch_norm"] == "folded" and session.settings["threads"] == 1


def test_folding_leaves_no_batch_norm_and_the_original_alone(run_folder: Path) -> None:
    """The folded copy has biases instead of batch norms; the network it came from still has them."""
    model = open_model(run_folder / "distill")
    assert isinstance(model, NetworkModel)
    copy = folded(model.network)
    assert all(layer.bn is None for layer in copy.layers if isinstance(layer, ConvolutionLayer))
    assert any(layer.bn is not None for layer in model.network.layers if isinstance(layer, ConvolutionLayer))


@pytest.mark.parametrize("file", ["small.bundle", "distill_int.xmodel"])
def test_software_dpu_gives_the_executors_integers(run_folder: Path, file: str) -> None:
    """The heads come in the order of the spec, as int8, whether from a bundle or from a bare file with a cfg."""
    model = open_model(run_folder / file, run_folder / "distill" / "model.cfg" if "xmodel" in file else None)
    assert isinstance(model, XmodelModel)
    picture = fixed_picture(model.spec.input_hw)
    heads = BACKENDS["software_dpu"].open(model, threads=1).forward(picture)
    executor = Executor(model.graph, engine="numpy")
    pixels = quantise_pixels(picture, model.spec.input_fix_point, 1 / 255)[None]
    outputs = executor.run({executor.inputs[0].name: pixels})
    for head, spec in zip(heads, model.spec.heads, strict=True):
        assert head.dtype == np.int8 and head.shape[0] * spec.stride == model.spec.input_hw[0]
        np.testing.assert_array_equal(head, outputs[spec.output][0])


def test_int8_heads_are_near_the_float_ones(run_folder: Path) -> None:
    """Bundle and float network see the same picture: their heads agree up to quantisation."""
    model = open_model(run_folder / "small.bundle")
    heads = BACKENDS["software_dpu"].open(model, threads=1).forward(fixed_picture(model.spec.input_hw))
    for head, spec, expected in zip(heads, model.spec.heads, _heads(run_folder), strict=True):
        real = head.astype(np.float32) * 2.0**-spec.fix_point
        assert np.corrcoef(real.ravel(), expected.ravel())[0, 1] > 0.9


def test_origins_are_never_mixed_up() -> None:
    """Only what runs float networks here is measured; the software DPU is simulated, the DPU predicted."""
    assert {name: backend.origin for name, backend in BACKENDS.items()} == {
        "torch_cpu": "measured",
        "onnxruntime_cpu": "measured",
        "torch_cuda": "measured",
        "software_dpu": "simulated",
        "dpu": "predicted",
    }


def test_each_file_runs_as_it_is(run_folder: Path) -> None:
    """A backend takes what it can run and the default suits the file."""
    takes = {
        file: [name for name, backend in BACKENDS.items() if backend.takes(open_model(run_folder / file))]
        for file in ("distill", "distill.onnx", "small.bundle")
    }
    assert takes == {
        "distill": ["torch_cpu", "onnxruntime_cpu", "torch_cuda", "dpu"],
        "distill.onnx": ["onnxruntime_cpu"],
        "small.bundle": ["software_dpu", "dpu"],
    }
    assert default_backend("float32", onnx=False).name == "torch_cpu"
    assert default_backend("float32", onnx=True).name == "onnxruntime_cpu"
    assert default_backend("int8", onnx=False).name == "software_dpu"
