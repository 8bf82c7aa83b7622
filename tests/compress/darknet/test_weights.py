"""Darknet weights files: byte for byte there and back, and every way of being wrong."""

from __future__ import annotations

import contextlib
import copy
import errno
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from board_app.core.errors import InputError
from compress.darknet.model_files import load_folder, load_model, model_paths, save_model
from compress.darknet.network import DarknetNetwork, WeightsHeader
from compress.darknet.testing import MORE, random_cfg, randomise
from compress.darknet.testing_families import family_cfg
from compress.darknet.topologies import with_classes, yolov3_tiny_cfg
from compress.darknet.weights import load_weights, save_weights


@pytest.fixture
def tiny() -> DarknetNetwork:
    """A narrow YOLOv3-tiny with random numbers."""
    return randomise(DarknetNetwork(yolov3_tiny_cfg(6, (64, 64), 0.125)))


def state(network: DarknetNetwork) -> list[np.ndarray]:
    """Copies of all parameters and statistics."""
    return [value.numpy().copy() for value in network.state_dict().values()]


def test_coco_weights_come_back_byte_for_byte(shared_data: Path, tmp_path: Path) -> None:
    """The authors' file is written back as it was read, header and images seen included."""
    original = shared_data / "weights" / "yolov3-tiny.weights"
    network = load_model(shared_data / "weights" / "yolov3-tiny.cfg", original)
    assert network.header == WeightsHeader(0, 2, 0, 32013312)
    save_weights(network, tmp_path / "again.weights")
    assert (tmp_path / "again.weights").read_bytes() == original.read_bytes()


@pytest.mark.parametrize("header", [(0, 1, 0, 7), (0, 2, 5, 2**40), (1, 0, 0, 3), (1000, 0, 0, 3)])
def test_old_and_new_headers_come_back(header: tuple[int, int, int, int], tmp_path: Path, tiny: DarknetNetwork) -> None:
    """The count of images seen is 4 bytes long before version 0.2 and 8 since, and survives both."""
    tiny.header = WeightsHeader(*header)
    save_weights(tiny, tmp_path / "a.weights")
    other = DarknetNetwork(tiny.cfg)
    load_weights(other, tmp_path / "a.weights")
    assert other.header == tiny.header
    save_weights(other, tmp_path / "b.weights")
    assert (tmp_path / "a.weights").read_bytes() == (tmp_path / "b.weights").read_bytes()


@pytest.mark.parametrize("seed", range(10))
def test_a_saved_network_gives_the_same_outputs(seed: int, tmp_path: Path) -> None:
    """Saving and loading any small network changes no output bit, in channels-last memory too."""
    network = randomise(DarknetNetwork(random_cfg(seed, more=MORE)), seed).to(memory_format=torch.channels_last)
    save_model(network, tmp_path / "new" / "folder")
    again = load_folder(tmp_path / "new" / "folder")
    images = torch.rand(1, 3, *network.cfg.input_hw)
    with torch.no_grad():
        for ours, theirs in zip(network(images), again.to(memory_format=torch.channels_last)(images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_weights_that_darknet_trained_bring_its_epsilon(tmp_path: Path, tiny: DarknetNetwork) -> None:
    """Images seen mean Darknet's 1e-6, none torch's 1e-5; the saved cfg says it, and what it says holds."""
    save_model(tiny, tmp_path / "ours")
    assert load_folder(tmp_path / "ours").batch_norm(0).eps == 1e-5
    tiny.header.seen = 64
    save_model(tiny, tmp_path / "darknets")
    loaded = load_folder(tmp_path / "darknets")
    assert loaded.batch_norm(0).eps == 1e-6
    loaded.header.seen = 0
    save_model(loaded, tmp_path / "again")
    assert "bn_epsilon=1e-06" in (tmp_path / "again" / "model.cfg").read_text()
    assert load_folder(tmp_path / "again").batch_norm(0).eps == 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:10], "found 10 bytes"),
        (lambda content: content[:-3], "no whole number"),
        (
            lambda content: content[: 20 + 4 * 100],
            "found 100: they end in layer 0 (line 6 of the cfg, weights 8x3x3x3), which",
        ),
        (
            lambda content: content[:-4],
            "they end in layer 22 (line 140 of the cfg, weights 33x32x1x1), which has 1,088 of",
        ),
        (lambda content: content + bytes(8), "2 too many after the last one, layer 22"),
        (lambda content: b"", "found 0 bytes"),
    ],
)
def test_a_file_of_the_wrong_length_is_refused(
    change: Callable[[bytes], bytes], message: str, tmp_path: Path, tiny: DarknetNetwork
) -> None:
    """Truncated and over-long files say where they end, and the network stays as it was."""
    path = tmp_path / "bad.weights"
    save_weights(tiny, path)
    path.write_bytes(change(path.read_bytes()))
    network = DarknetNetwork(tiny.cfg)
    before = state(network)
    for partial in (False, True):
        with pytest.raises(InputError) as caught:
            load_weights(network, path, partial=partial)
        assert message in str(caught.value) and str(path) in str(caught.value)
    assert all(map(np.array_equal, before, state(network)))


@pytest.mark.parametrize(("value", "found"), [(np.nan, "infinity or NaN"), (-1.0, "variances below 0")])
def test_numbers_that_cannot_be_are_refused(value: float, found: str, tmp_path: Path, tiny: DarknetNetwork) -> None:
    """NaN anywhere, or a negative variance, as weights of another cfg have, names the layer."""
    path = tmp_path / "bad.weights"
    with torch.no_grad():
        tiny.batch_norm(4).get_buffer("running_var")[1] = value
    save_weights(tiny, path)
    network = DarknetNetwork(tiny.cfg)
    before = state(network)
    with pytest.raises(InputError, match=f"found {found} in layer 4"):
        load_weights(network, path)
    assert all(map(np.array_equal, before, state(network)))


def test_weights_of_another_class_count_say_which(
    tmp_path: Path, tiny: DarknetNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    """The right class count is in the message; partial loading takes everything but the heads."""
    path = tmp_path / "six.weights"
    save_weights(tiny, path)
    network = DarknetNetwork(with_classes(tiny.cfg, 3))
    with pytest.raises(InputError, match="fit this cfg with classes=6"):
        load_weights(network, path)
    heads = [network.convolution(head.layer).conv.weight.clone() for head in network.heads]
    with caplog.at_level(logging.INFO):
        load_weights(network, path, partial=True)
    assert "took 11 of 13 convolutions (layers 0 to 21), left layers 15, 22 as they were: the heads" in caplog.text
    for index in (0, 13, 18, 21):
        torch.testing.assert_close(network.convolution(index).state_dict(), tiny.convolution(index).state_dict())
    for head, weight in zip(network.heads, heads, strict=True):
        assert torch.equal(network.convolution(head.layer).conv.weight, weight)


def test_partial_loading_takes_a_backbone(
    tmp_path: Path, tiny: DarknetNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that ends with a whole layer, as darknet53.conv.74 does, fills what it has and says what it left."""
    path = tmp_path / "full.weights"
    save_weights(tiny, path)
    sizes = [sum(p.numel() for p in tiny.convolution(i).state_dict().values()) - 1 for i in (0, 2)]  # less the counter
    (tmp_path / "tiny.conv.2").write_bytes(path.read_bytes()[: 20 + 4 * sum(sizes)])
    network = DarknetNetwork(tiny.cfg)
    with pytest.raises(InputError, match="they end in layer 4"):
        load_weights(network, tmp_path / "tiny.conv.2")
    with caplog.at_level(logging.INFO):
        load_weights(network, tmp_path / "tiny.conv.2", partial=True)
    assert torch.equal(network.convolution(2).conv.weight, tiny.convolution(2).conv.weight)
    assert not torch.equal(network.convolution(4).conv.weight, tiny.convolution(4).conv.weight)
    assert "took 2 of 13 convolutions (layers 0 to 2), left layers 4, 6," in caplog.text
    assert "which the file does not have" in caplog.text


@pytest.mark.parametrize(
    ("name", "layers"), [("yolov2", 23), ("yolov3", 74), ("yolov3-spp", 74), ("yolov3-tiny", 15), ("yolov4-tiny", 29)]
)
@pytest.mark.parametrize("suffix", ["weights", "safetensors"])
def test_published_backbones_start_a_network_of_other_classes(
    name: str, layers: int, suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first layers, as in darknet53.conv.74 or yolov4-tiny.conv.29, go into a cfg of any class count."""
    whole = randomise(DarknetNetwork(family_cfg(name, 80, factor=1 / 16)))
    backbone = DarknetNetwork(whole.cfg)
    backbone.load_state_dict(whole.state_dict())
    backbone.layers = backbone.layers[:layers]  # what a file of so many layers holds
    path = tmp_path / f"{name}.conv.{layers}.{suffix}"
    save_weights(backbone, path)
    network = DarknetNetwork(family_cfg(name, 6, factor=1 / 16))
    fresh = copy.deepcopy(network)
    with caplog.at_level(logging.INFO):
        load_weights(network, path, partial=True)
    convolutions = [i for i, section in enumerate(whole.cfg.layers) if section.type == "convolutional"]
    for index in convolutions:
        source = whole if index < layers else fresh
        assert torch.equal(network.convolution(index).conv.weight, source.convolution(index).conv.weight)
    taken = [index for index in convolutions if index < layers]
    assert f"took {len(taken)} of {len(convolutions)} convolutions (layers 0 to {taken[-1]})" in caplog.text


def test_a_failed_save_leaves_the_old_files(
    tmp_path: Path, tiny: DarknetNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing breaks off, cfg and weights are as they were and nothing else is left behind."""
    save_model(tiny, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def disk_full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("compress.darknet.weights_file.parameters", disk_full)
    with pytest.raises(OSError, match="No space"):
        save_model(randomise(DarknetNetwork(random_cfg(1))), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_without_a_model_says_what_is_missing(tmp_path: Path) -> None:
    """Naming a folder with no model in it names the missing file."""
    with pytest.raises(InputError, match=r"found no model\.cfg"):
        model_paths(tmp_path)


def test_a_full_disk_is_told_as_one(tiny: DarknetNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the system's number for it, by which the command knows what to say."""
    monkeypatch.setattr(
        "compress.darknet.weights_file.replacing", lambda path: contextlib.nullcontext(Path("/dev/full"))
    )
    with pytest.raises(OSError) as error:
        save_weights(tiny, "anywhere.weights")
    assert error.value.errno == errno.ENOSPC
