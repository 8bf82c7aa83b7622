"""Training pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from board_app.core.errors import InputError
from compress.config import AugmentConfig
from compress.data.dataset import Sample
from compress.training import loader
from compress.training.loader import TrainingImages, epoch_order, load_batches, read_image

SIZE_HW = (64, 96)
STILL = {"flip": 0, "translate": 0, "scale": 0, "brightness": 0, "contrast": 0, "saturation": 0}


def corners(truths: Tensor) -> np.ndarray:
    """Corner coordinates (N, 4) of truths (N, 5)."""
    half = truths[:, 3:] / 2
    return torch.cat([truths[:, 1:3] - half, truths[:, 1:3] + half], 1).numpy()


@pytest.mark.parametrize("augment", [None, AugmentConfig(**STILL)])
def test_without_variation_the_truths_are_the_labels(samples: list[Sample], augment: AugmentConfig | None) -> None:
    """Box centres and sizes in network pixels are those of the label file, and the pictures count as plain."""
    images = TrainingImages(samples, SIZE_HW, augment, seed=1)
    for index, sample in enumerate(samples):
        pixels, truths = images.item(index)
        assert pixels.shape == (3, 64, 96) and pixels.dtype == torch.uint8
        np.testing.assert_allclose(corners(truths), sample.boxes_xyxy, atol=1e-3)
        np.testing.assert_array_equal(truths[:, 0].numpy(), sample.class_id)
    assert next(load_batches(images, 0, [[0]])).plain


@pytest.mark.parametrize("mosaic", [0, 0.5])
def test_the_same_seed_epoch_and_picture_vary_in_the_same_way(samples: list[Sample], mosaic: float) -> None:
    """A second loader gives equal pictures, whatever was loaded before; another epoch or seed gives others."""
    augment = AugmentConfig(mosaic=mosaic)
    one, two = (TrainingImages(samples, SIZE_HW, augment, seed=5) for _ in range(2))
    for index in (3, 1, 2):
        two.item(index, 4)
    for index in range(12):
        assert all(map(torch.equal, one.item(index, 4), two.item(index, 4)))
    assert not torch.equal(one.item(2, 4)[0], two.item(2, 5)[0])
    assert not torch.equal(one.item(2, 4)[0], TrainingImages(samples, SIZE_HW, augment, seed=6).item(2, 4)[0])


def test_another_size_takes_the_boxes_along(samples: list[Sample]) -> None:
    """A picture at twice the size has its boxes at twice the size; a batch may have any, and is then not plain."""
    images = TrainingImages(samples, SIZE_HW, None, seed=1)
    pixels, truths = images.item(3, size_hw=(128, 192))
    assert pixels.shape == (3, 128, 192)
    np.testing.assert_allclose(corners(truths), 2 * corners(images.item(3)[1]), atol=1e-3)
    small = torch.nn.functional.avg_pool2d(pixels.float(), 2) - images.item(3)[0].float()
    assert small.abs().mean() < 5  # the road is rough: the finest grain is lost
    sizes = [(32, 64), SIZE_HW]
    batches = list(load_batches(images, 0, [[0, 1], [2]], sizes_hw=sizes))
    assert [tuple(batch.images.shape[2:]) for batch in batches] == sizes
    assert [batch.plain for batch in batches] == [False, True]


def test_an_epoch_is_a_shuffle_of_all_pictures(images: TrainingImages) -> None:
    """12 pictures in batches of 4 are all there once; 5 leave the odd two out; two epochs differ in order."""
    order = epoch_order(images, 0, 4)
    assert [len(batch) for batch in order] == [4, 4, 4] and sorted(sum(order, [])) == list(range(12))
    assert [len(batch) for batch in epoch_order(images, 0, 5)] == [5, 5]
    assert epoch_order(images, 1, 4) != order


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_are_the_named_pictures(images: TrainingImages, workers: int) -> None:
    """However many threads load, each batch has its pictures, their truths and indices, channels last in memory."""
    indices = [[3, 1], [7], [4, 5, 6], [0, 2], [8]]
    batches = list(load_batches(images, 2, indices, workers))
    assert [batch.indices.tolist() for batch in batches] == indices
    for batch, chosen in zip(batches, indices, strict=True):
        assert batch.images.is_contiguous(memory_format=torch.channels_last) and not batch.plain
        for position, index in enumerate(chosen):
            pixels, truths = images.item(index, 2)
            assert torch.equal(batch.images[position], pixels)
            assert torch.equal(batch.truths[batch.truths[:, 0] == position][:, 1:], truths)


def test_threads_that_load_take_no_cores_from_the_network(
    images: TrainingImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch uses one thread in each of them, and as many as before in the one that trains."""
    torch.set_num_threads(2)
    inside: set[int] = set()
    item = images.item

    def noted(index: int, epoch: int, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        inside.add(torch.get_num_threads())
        return item(index, epoch, size_hw)

    monkeypatch.setattr(images, "item", noted)
    list(load_batches(images, 0, [[0, 1], [2, 3]], workers=2))
    assert inside == {1} and torch.get_num_threads() == 2


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that the loader decodes from now on, in order."""
    paths: list[Path] = []

    def noted(sample: Sample) -> np.ndarray:
        paths.append(sample.image_path)
        return read_image(sample)

    monkeypatch.setattr(loader, "read_image", noted)
    return paths


def test_a_loader_that_is_left_ends_its_threads(samples: list[Sample], decoded: list[Path]) -> None:
    """After an epoch that broke off, no further picture is loaded."""
    batches = load_batches(TrainingImages(samples, SIZE_HW, None, 0), 0, [[index] for index in range(12)])
    next(batches)
    batches.close()
    assert len(decoded) <= 4


def test_the_cache_keeps_to_its_limit(samples: list[Sample], decoded: list[Path]) -> None:
    """What fits is decoded once, the rest each time; the pictures are the same."""
    large = (256, 512)  # 384 KiB, so two fit into 1 MiB
    few, all_kept, none = (TrainingImages(samples[:5], large, None, 0, cache_mb=mb) for mb in (1, 100, 0))
    for images, expected in ((few, 2 + 3 * 2), (all_kept, 5), (none, 10)):
        decoded.clear()
        for _ in range(2):
            for index in range(5):
                images.letterboxed(index)
        assert len(decoded) == expected
    assert all(torch.equal(few.item(i)[0], all_kept.item(i)[0]) for i in range(5))


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    """The path and the command that lists all such files, from the loading thread too."""
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"not a picture")
    broken = Sample(path, np.zeros((0, 4), np.float32), np.zeros(0, np.int32))
    with pytest.raises(InputError, match="broken.jpg.*roadslim data check"):
        read_image(broken)
    with pytest.raises(InputError, match="broken.jpg"):
        list(load_batches(TrainingImages([broken], SIZE_HW, None, 0), 0, [[0]]))
