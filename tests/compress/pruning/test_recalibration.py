"""BN statistics estimated anew."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from board_app.core.errors import InputError
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import randomise
from compress.darknet.topologies import yolov3_tiny_cfg
from compress.data.dataset import Sample
from compress.pruning import PruneOptions, prune, select
from compress.pruning.recalibration import folder_batches, recalibrate, training_batches, with_new_statistics
from compress.pruning.testing import silence_cut
from compress.training.loader import TrainingImages

SIZE_HW = (64, 96)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Thirty-three random pictures in a folder."""
    rng = np.random.default_rng(0)
    for number in range(33):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), rng.integers(0, 256, (*SIZE_HW, 3), np.uint8))
    return tmp_path


def training_images(folder: Path) -> TrainingImages:
    """The same pictures as training images."""
    paths = sorted(folder.glob("*.png"))
    samples = [Sample(path, np.zeros((0, 4), np.float32), np.zeros(0, np.int64)) for path in paths]
    return TrainingImages(samples, SIZE_HW, None, seed=0)


def test_statistics_are_the_pictures_own(pictures: Path) -> None:
    """The first layer's mean and variance are those of its convolution over all the pictures; nothing else changes."""
    network = randomise(DarknetNetwork(yolov3_tiny_cfg(2, SIZE_HW, 0.125)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batches = list(folder_batches(pictures, SIZE_HW))
    recalibrate(network, batches)
    assert not network.training
    with torch.no_grad():
        seen = network.convolution(0).conv(torch.cat(batches))
    bn = network.batch_norm(0)
    torch.testing.assert_close(bn.running_mean, seen.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(bn.running_var, seen.var((0, 2, 3)), rtol=1e-2, atol=1e-4)
    changed = {name.rsplit(".", 1)[1] for name, value in network.state_dict().items() if not value.equal(before[name])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}


def test_a_network_settled_before_stays(pictures: Path) -> None:
    """Again on the same pictures gives the same statistics to the bit."""
    network = randomise(DarknetNetwork(yolov3_tiny_cfg(2, SIZE_HW, 0.125)))
    recalibrate(network, folder_batches(pictures, SIZE_HW))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    recalibrate(network, folder_batches(pictures, SIZE_HW))
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (5, [5]), (33, [16, 17]), (256, [16, 17])])
def test_batches_are_of_one_size(count: int, sizes: list[int], pictures: Path) -> None:
    """So many pictures from the first to the last one, in batches that differ by one picture at most."""
    images = training_images(pictures)
    batches = list(training_batches(images, count))
    assert [len(batch) for batch in batches] == sizes
    every = torch.cat(list(folder_batches(pictures, SIZE_HW)))
    assert batches[0][0].equal(every[0]) and (count == 1 or batches[-1][-1].equal(every[-1]))


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    """An empty folder is an error, not a network without statistics."""
    with pytest.raises(InputError, match="expected calibration images"):
        list(folder_batches(tmp_path, SIZE_HW))


def test_a_cut_of_zeros_alone_keeps_the_statistics(pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing shifted, so nothing is estimated, and the log says so; a cut of live channels is settled."""
    caplog.set_level("INFO")
    network = randomise(DarknetNetwork(yolov3_tiny_cfg(2, SIZE_HW, 0.125)))
    options = PruneOptions(channels=0.5)
    live = with_new_statistics(prune(network, options), folder_batches(pictures, SIZE_HW))
    assert live.report.recalibration_images == 33 and not caplog.records
    silence_cut(network, select(network, options))
    result = prune(network, options)
    assert with_new_statistics(result, iter(())) is result and result.report.recalibration_images == 0
    assert "BN statistics kept" in caplog.text
