"""Training pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from board_app.core.errors import InputError
from compress.config import AugmentConfig
from compress.data.dataset import Sample
from compress.training.loader import TrainingImages, collate, epoch_order, load_batches, read_image


def test_without_variation_the_truths_are_the_labels(samples: list[Sample]) -> None:
    """Box centres and sizes in network pixels are those of the label file."""
    images = TrainingImages(samples, (64, 96), None, seed=1)
    for index, sample in enumerate(samples):
        pixels, truths = images[index]
        assert pixels.shape == (3, 64, 96) and pixels.dtype == torch.uint8
        corners = torch.cat([truths[:, 1:3] - truths[:, 3:] / 2, truths[:, 1:3] + truths[:, 3:] / 2], 1)
        np.testing.assert_allclose(corners.numpy(), sample.boxes_xyxy, atol=1e-3)
        np.testing.assert_array_equal(truths[:, 0].numpy(), sample.class_id)


def test_the_same_seed_epoch_and_picture_vary_in_the_same_way(samples: list[Sample]) -> None:
    """A second loader gives equal pictures, whatever was loaded before; another epoch gives others."""
    one, two = (TrainingImages(samples, (64, 96), AugmentConfig(), seed=5) for _ in range(2))
    one.epoch = two.epoch = 4
    for index in (3, 1, 2):
        two[index]
    assert torch.equal(one[2][0], two[2][0]) and torch.equal(one[2][1], two[2][1])
    two.epoch = 5
    assert not torch.equal(one[2][0], two[2][0])


def test_a_flip_takes_the_boxes_along(samples: list[Sample]) -> None:
    """Every picture is mirrored, every centre too."""
    plain = TrainingImages(samples, (64, 96), None, seed=1)
    still = AugmentConfig(flip=0.999999, translate=0, scale=0, brightness=0, contrast=0, saturation=0)
    flipped = TrainingImages(samples, (64, 96), still, seed=1)
    for index in range(len(samples)):
        (a, ta), (b, tb) = plain[index], flipped[index]
        assert torch.equal(a.flip(-1), b)
        torch.testing.assert_close(tb[:, 1], 96 - ta[:, 1], atol=1e-3, rtol=0)


def test_batches_carry_the_index_of_their_picture(images: TrainingImages) -> None:
    """The first column of the truths says which picture of the batch they belong to."""
    pictures, truths = collate([images[0], images[1], images[2]])
    assert pictures.shape == (3, 3, 64, 96)
    for index in range(3):
        assert torch.equal(truths[truths[:, 0] == index][:, 1:], images[index][1])


def test_an_epoch_is_a_shuffle_of_all_pictures(images: TrainingImages) -> None:
    """12 pictures in batches of 4 are all there once; 5 leave the odd two out; two epochs differ in order."""
    order = epoch_order(images, 0, 4)
    assert [len(batch) for batch in order] == [4, 4, 4] and sorted(sum(order, [])) == list(range(12))
    assert [len(batch) for batch in epoch_order(images, 0, 5)] == [5, 5]
    assert epoch_order(images, 1, 4) != order


def test_batches_are_the_named_pictures(images: TrainingImages) -> None:
    """Each batch has its indices in the set, its pictures and their truths."""
    batches = list(load_batches(images, 0, [[3, 1], [7]], 0))
    assert [batch.indices.tolist() for batch in batches] == [[3, 1], [7]]
    assert torch.equal(batches[0].images[1], images[1][0]) and not batches[0].plain


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    """The path and the command that lists all such files."""
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"not a picture")
    with pytest.raises(InputError, match="broken.jpg.*roadslim data check"):
        read_image(Sample(path, np.zeros((0, 4), np.float32), np.zeros(0, np.int32)))
