"""Training and evaluation images as tensors: letterboxed, cached while they fit, varied by torchvision transforms.

Every draw of chance follows from (seed, epoch, image), so a resumed training sees the very same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from board_app.core.errors import InputError
from board_app.core.letterbox import LetterboxTransform, letterbox
from compress.config import AugmentConfig
from compress.data.dataset import Sample
from compress.data.image_size import NoImageError, decode_image
from compress.training.batch import Batch

CACHE_LIMIT_BYTES = 1 << 30
_SMALLEST_BOX_PX = 3.0  # what a crop leaves of a box below this is no damage any more


def read_image(sample: Sample) -> np.ndarray:
    """The sample's picture, uint8 BGR (H, W, 3).

    Raises:
        InputError: the file is missing or is no image.
    """
    try:
        return decode_image(sample.image_path)
    except NoImageError as error:
        raise InputError(
            f"expected a readable image at {sample.image_path}, found {error}. "
            "Mend or remove it: `roadslim data check` lists every such file"
        ) from error


class TrainingImages(torch.utils.data.Dataset):
    """Samples as (image uint8 (3, H, W) RGB, truths float32 (N, 5): class, centre x, y, width, height in pixels)."""

    def __init__(
        self, samples: Sequence[Sample], input_hw: tuple[int, int], augment: AugmentConfig | None, seed: int
    ) -> None:
        self.samples, self.input_hw, self.seed, self.epoch = list(samples), input_hw, seed, 0
        self._transform = _transforms(augment) if augment else None
        fits = len(self.samples) * input_hw[0] * input_hw[1] * 3 <= CACHE_LIMIT_BYTES
        self._cache: dict[int, tuple[np.ndarray, LetterboxTransform]] | None = {} if fits else None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def varied(self) -> bool:
        """Whether the pictures differ from epoch to epoch."""
        return self._transform is not None

    def letterboxed(self, index: int) -> tuple[np.ndarray, LetterboxTransform]:
        """The picture at network size, uint8 RGB (H, W, 3), and the way back to the source."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        image, transform = letterbox(read_image(self.samples[index]), self.input_hw)
        entry = np.ascontiguousarray(image[:, :, ::-1]), transform
        if self._cache is not None:
            self._cache[index] = entry
        return entry

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.samples[index]
        pixels, way_back = self.letterboxed(index)
        image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
        corners = torch.from_numpy(way_back.to_network(sample.boxes_xyxy)).float()
        boxes = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=self.input_hw)
        labels = torch.from_numpy(sample.class_id).long()
        if self._transform:
            torch.manual_seed(hash((self.seed, self.epoch, index)) & 0x7FFFFFFF)
            image, boxes, labels = self._transform(image, boxes, labels)
        sides = boxes[:, 2:] - boxes[:, :2]
        truths = torch.cat([labels[:, None].float(), boxes[:, :2] + sides / 2, sides], 1)
        return image.as_subclass(Tensor), truths.as_subclass(Tensor)


def _transforms(augment: AugmentConfig) -> v2.Transform:
    colour = v2.ColorJitter(augment.brightness, augment.contrast, augment.saturation)
    steps: list[v2.Transform] = [v2.RandomHorizontalFlip(augment.flip), colour]
    if augment.translate or augment.scale:
        scales = (1 - augment.scale, 1 + augment.scale)
        move = (augment.translate, augment.translate)
        steps.append(
            v2.RandomAffine(0, translate=move, scale=scales, interpolation=v2.InterpolationMode.BILINEAR, fill=128)
        )
    steps += [
        v2.ClampBoundingBoxes(),
        v2.SanitizeBoundingBoxes(min_size=_SMALLEST_BOX_PX, labels_getter=lambda inputs: inputs[2]),
    ]
    return v2.Compose(steps)


def collate(items: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """A batch: images uint8 (N, 3, H, W) and truths (M, 6), each with the index of its image in front."""
    images = torch.stack([image for image, _ in items])
    truths = [
        torch.cat([torch.full((len(truth), 1), float(index)), truth], 1) for index, (_, truth) in enumerate(items)
    ]
    return images, torch.cat(truths)


def epoch_order(images: TrainingImages, epoch: int, batch_size: int) -> list[list[int]]:
    """The pictures of each batch of one epoch, shuffled; a last batch that would not be full is left out."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(images.seed * 100_003 + epoch)).tolist()
    full = len(order) - len(order) % batch_size if len(order) > batch_size else len(order)
    return [order[first : first + batch_size] for first in range(0, full, batch_size)]


def load_batches(images: TrainingImages, epoch: int, indices: Sequence[list[int]], workers: int) -> Iterator[Batch]:
    """Batches of the named pictures, in that order, images in uint8."""
    images.epoch = epoch
    loader = torch.utils.data.DataLoader(images, batch_sampler=indices, collate_fn=collate, num_workers=workers)
    for chosen, (pictures, truths) in zip(indices, loader, strict=True):
        yield Batch(pictures, truths, torch.tensor(chosen), plain=not images.varied)


def to_input(images: Tensor) -> Tensor:
    """Network input of uint8 images: float32 in 0..1."""
    return images.float() / 255
