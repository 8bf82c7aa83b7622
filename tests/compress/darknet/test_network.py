"""The torch network against OpenCV's own Darknet reader, and its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from board_app.core.errors import InputError
from compress.darknet.activations import activated
from compress.darknet.cfg import Cfg, cfg_text, parse_cfg
from compress.darknet.heads import Head
from compress.darknet.model_files import load_model, save_model
from compress.darknet.network import DarknetNetwork, ReorgLayer, UpsampleLayer
from compress.darknet.testing import MORE, random_cfg, randomise
from compress.darknet.testing_families import FAMILIES, family_cfg
from compress.darknet.topologies import yolov3_cfg


def opencv_heads(cfg_path: Path, weights_path: Path, images: np.ndarray, heads: Sequence[Head]) -> list[np.ndarray]:
    """The raw head convolutions as OpenCV computes them."""
    reader = cv2.dnn.readNetFromDarknet(str(cfg_path), str(weights_path))
    reader.setInput(images)
    return list(reader.forward([f"conv_{head.layer}" for head in heads]))


def test_coco_tiny_equals_opencv(shared_data: Path) -> None:
    """On a road picture and on noise the outputs of the COCO weights equal OpenCV's to 1e-3."""
    paths = shared_data / "weights" / "yolov3-tiny.cfg", shared_data / "weights" / "yolov3-tiny.weights"
    network = load_model(*paths)
    picture = cv2.imread(str(min((shared_data / "rdd2022-cmb-mini" / "images").iterdir())))
    assert picture is not None
    road = cv2.dnn.blobFromImage(picture, 1 / 255, (416, 416), swapRB=True)
    noise = np.random.default_rng(0).random((1, 3, 416, 416), np.float32)
    for images in (road, noise):
        with torch.no_grad():
            ours = network(torch.from_numpy(images))
        for our, other in zip(ours, opencv_heads(*paths, images, network.heads), strict=True):
            assert our.shape == other.shape
            assert np.abs(our.numpy() - other).max() <= 1e-3


@pytest.mark.parametrize("seed", range(25))
def test_random_networks_equal_opencv(seed: int, tmp_path: Path) -> None:
    """Small networks with every kind of layer give OpenCV's outputs, the batch normalisation's epsilon included."""
    check_against_opencv(random_cfg(seed), seed, tmp_path)


@pytest.mark.parametrize("seed", range(25))
def test_newer_networks_equal_opencv(seed: int, tmp_path: Path) -> None:
    """So do those with pyramids, reorg, grouped convolutions and every activation that OpenCV reads."""
    cfg = random_cfg(seed, more=("spatial_pyramid", "reorg", "grouped", "activations"))
    check_against_opencv(parse_cfg(cfg_text(cfg).replace("relu6", "mish"), "x"), seed, tmp_path)


def check_against_opencv(cfg: Cfg, seed: int, folder: Path) -> None:
    """Compare the raw heads of a network with random numbers, both read from the same files."""
    network = randomise(DarknetNetwork(cfg), seed)
    network.header.seen = 1  # as Darknet trained it, so its epsilon holds, which is OpenCV's
    paths = save_model(network, folder)
    network = load_model(*paths)
    images = np.random.default_rng(seed).random((1, 3, *network.cfg.input_hw), np.float32)
    with torch.no_grad():
        ours = network(torch.from_numpy(images))
    for our, other in zip(ours, opencv_heads(*paths, images, network.heads), strict=True):
        np.testing.assert_allclose(our.numpy(), other, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 10_000), st.sampled_from([(), MORE]))
@settings(max_examples=25, deadline=None)
def test_every_layer_on_its_own_gives_the_same_heads(seed: int, more: Sequence[str]) -> None:
    """Freeing outputs early changes nothing: forward equals forward_layers, and shapes are those of the cfg."""
    network = randomise(DarknetNetwork(random_cfg(seed, more=more)), seed)
    images = torch.rand(2, 3, *network.cfg.input_hw)
    with torch.no_grad():
        heads, layers = network(images), network.forward_layers(images)
    for head, raw in zip(network.heads, heads, strict=True):
        torch.testing.assert_close(raw, layers[head.layer], rtol=0, atol=0)
        assert raw.shape[1] == len(head.anchors) * (5 + head.classes)
        assert raw.shape[2] * head.stride == network.cfg.input_hw[0]


@pytest.mark.parametrize("cfg", [yolov3_cfg(6, (64, 64), 0.125), *(family_cfg(name, factor=0.1) for name in FAMILIES)])
def test_gradients_reach_every_parameter(cfg: Cfg) -> None:
    """One backward pass in training mode gives every parameter a finite gradient, activations in place and all."""
    network = DarknetNetwork(cfg).train()
    sum(raw.square().mean() for raw in network(torch.rand(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


@pytest.mark.parametrize("seed", range(8))
def test_gradients_pass_every_kind_of_layer(seed: int) -> None:
    """They equal numerical ones in float64 where activations are in place, and sums and grouped routes follow."""
    network = randomise(DarknetNetwork(random_cfg(seed, 6, (8, 8), more=MORE)), seed).double()
    images = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    parameter = network.convolution(0).conv.weight

    def loss() -> torch.Tensor:
        return torch.stack([raw.square().sum() for raw in network(images)]).sum()

    (gradient,) = torch.autograd.grad(loss(), parameter, allow_unused=True)
    step = 1e-6 * torch.randn(parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        parameter += step
        above = float(loss())
        parameter -= 2 * step
        slope = (above - float(loss())) / 2
    expected = 0.0 if gradient is None else float((gradient * step).sum())
    assert slope == pytest.approx(expected, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("slope", [0.1, 26 / 256])
def test_the_slope_is_the_cfgs(slope: float) -> None:
    """A negative number leaves a leaky convolution times the cfg's slope."""
    text = f"[net]\nwidth=2\nheight=2\nchannels=1\nleaky_slope={slope}\n[convolutional]\nfilters=1\nactivation=leaky\n"
    text += "[convolutional]\nfilters=6\nactivation=linear\n[yolo]\nanchors=1,1\nclasses=1\n"
    network = DarknetNetwork(parse_cfg(text, "x"))
    layer = network.convolution(0)
    torch.nn.init.constant_(layer.conv.weight, -1.0)
    torch.nn.init.zeros_(layer.conv.get_parameter("bias"))
    assert layer(torch.ones(1, 1, 2, 2)).tolist() == torch.full((1, 1, 2, 2), -slope).tolist()


def test_head_biases_start_from_a_prior() -> None:
    """After init_heads every anchor expects an object with the given probability."""
    network = DarknetNetwork(random_cfg(3))
    network.init_heads(objectness=0.02)
    for head in network.heads:
        bias = network.convolution(head.layer).conv.get_parameter("bias").view(len(head.anchors), 5 + head.classes)
        torch.testing.assert_close(bias[:, 4].sigmoid(), torch.full((len(head.anchors),), 0.02))


def test_a_backbone_is_no_detector() -> None:
    """A cfg without heads is refused."""
    text = "[net]\nwidth=32\nheight=32\n[convolutional]\nfilters=8\nactivation=leaky\n"
    with pytest.raises(InputError, match=r"expected a \[yolo\] or \[region\]"):
        DarknetNetwork(parse_cfg(text, "x"))


def test_reorg_has_darknets_own_order() -> None:
    """The input's memory read as larger pictures, whose blocks become channels."""
    x = torch.arange(2 * 8 * 4 * 6, dtype=torch.float32).reshape(2, 8, 4, 6)
    found = ReorgLayer(2)(x)
    for image, out in zip(x.numpy().reshape(2, -1), found.numpy().reshape(2, -1), strict=True):
        for index, value in enumerate(out):  # src/blas.c, reorg_cpu, with the input's sizes
            channel, row, column = index // 24, index // 6 % 4, index % 6
            block, plane = divmod(channel, 2)
            larger = (plane * 8 + 2 * row + block // 2) * 12 + 2 * column + block % 2
            assert value == image[larger]
    assert found.shape == (2, 32, 2, 3)


def test_upsampling_can_scale() -> None:
    """Every pixel comes four times, times the factor."""
    assert UpsampleLayer(2, 0.5)(torch.tensor([[[[4.0]]]])).tolist() == [[[[2.0, 2.0], [2.0, 2.0]]]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("leaky", lambda x: np.where(x > 0, x, 0.1 * x)),
        ("linear", lambda x: x),
        ("relu", lambda x: np.maximum(x, 0)),
        ("relu6", lambda x: np.clip(x, 0, 6)),
        ("mish", lambda x: x * np.tanh(np.log1p(np.exp(x)))),
        ("swish", lambda x: x / (1 + np.exp(-x))),
        ("logistic", lambda x: 1 / (1 + np.exp(-x))),
    ],
)
def test_activations_are_what_their_names_say(name: str, expected: Callable[[np.ndarray], np.ndarray]) -> None:
    """Each equals its formula in float64."""
    x = np.linspace(-9, 9, 73)
    np.testing.assert_allclose(activated(torch.from_numpy(x.copy()), name, 0.1).numpy(), expected(x), atol=1e-12)
