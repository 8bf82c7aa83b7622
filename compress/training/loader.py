"""Training and evaluation images as tensors: letterboxed, cached while they fit, varied by torchvision transforms.

Every draw of chance follows from (seed, epoch, image), so a resumed training sees the very same pictures, whatever the
number of threads that load them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from board_app.core.errors import InputError
from board_app.core.letterbox import LetterboxTransform, letterbox
from compress.config import AugmentConfig
from compress.data.augmentation import (
    FlipCare,
    KeepVisible,
    Picture,
    RandomColour,
    RandomWarp,
    boxes_of,
    image_of,
    pixels_of,
    warped,
)
from compress.data.dataset import Sample
from compress.data.image_size import NoImageError, decode_image
from compress.data.mosaic import mosaic
from compress.data.picture_cache import PictureCache
from compress.training.batch import Batch


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


class TrainingImages:
    """Samples at network size, as they are or varied.

    Args:
        samples: images and their boxes.
        input_hw: the network's input; a batch may ask for another size.
        augment: how the pictures vary; None leaves them as they are.
        seed: what every draw of chance starts from.
        class_names: of the class ids; only classes with care in a mirror need them.
        cache_mb: MB of decoded pictures kept at `input_hw`.
    Raises:
        UsageError: `augment` names classes that are not among `class_names`.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        input_hw: tuple[int, int],
        augment: AugmentConfig | None,
        seed: int,
        class_names: Sequence[str] = (),
        cache_mb: int = 1024,
    ) -> None:
        self.samples, self.input_hw, self.seed = list(samples), input_hw, seed
        self._augment = augment if augment and _varies(augment) else None
        self._care = FlipCare(augment, class_names) if augment else None
        self._cache = PictureCache[tuple[np.ndarray, LetterboxTransform]](cache_mb << 20, 3 * input_hw[0] * input_hw[1])

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def varied(self) -> bool:
        """Whether the pictures differ from epoch to epoch."""
        return self._augment is not None

    def spread(self, count: int) -> list[int]:
        """Indices of so many pictures from all over the set, or of all where there are fewer."""
        count = min(count, len(self))
        return [round(place * (len(self) - 1) / max(count - 1, 1)) for place in range(count)]

    def letterboxed(self, index: int) -> tuple[np.ndarray, LetterboxTransform]:
        """The picture at network size, uint8 RGB (H, W, 3), and the way back to the source; not to be changed."""
        return self._cache.get(index, self._decoded)

    def item(self, index: int, epoch: int = 0, size_hw: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        """One picture as an epoch shows it.

        Args:
            index: of the sample.
            epoch: 0-based; another one varies the picture in another way.
            size_hw: of the picture; None is the network's. Another size is made from the picture at network size.
        Returns:
            The image, uint8 RGB (3, H, W), and its truths, float32 (N, 5): class, box centre x, y, width and height
            in pixels.
        """
        image, boxes, labels = self._picture(index, epoch, size_hw or self.input_hw)
        corners = boxes.as_subclass(Tensor)
        sides = corners[:, 2:] - corners[:, :2]
        return image.as_subclass(Tensor), torch.cat([labels[:, None].float(), corners[:, :2] + sides / 2, sides], 1)

    def _picture(self, index: int, epoch: int, size_hw: tuple[int, int]) -> Picture:
        picture = self._plain(index)
        if self._augment is None or self._care is None:
            gain_y, gain_x = size_hw[0] / self.input_hw[0], size_hw[1] / self.input_hw[1]
            return *warped(*picture[:2], (gain_x, gain_y), (0.0, 0.0), size_hw), picture[2]
        chance = np.random.default_rng((self.seed, epoch, index))
        if chance.random() < self._augment.mosaic:
            others = [self._plain(int(other)) for other in chance.integers(len(self), size=3)]
            picture = mosaic([picture, *others], self._augment.flip, self._care, size_hw, chance)
            steps: list[v2.Transform] = [RandomColour(self._augment)]
        else:
            steps = [RandomWarp(self._augment, self._care, size_hw), RandomColour(self._augment), KeepVisible()]
        for step in steps:
            picture = step(*picture, chance)[:3]
        return picture

    def _plain(self, index: int) -> Picture:
        sample, (pixels, way_back) = self.samples[index], self.letterboxed(index)
        boxes = boxes_of(way_back.to_network(sample.boxes_xyxy), self.input_hw)
        return image_of(pixels), boxes, torch.from_numpy(sample.class_id).long()

    def _decoded(self, index: int) -> tuple[np.ndarray, LetterboxTransform]:
        image, way_back = letterbox(read_image(self.samples[index]), self.input_hw)
        return np.ascontiguousarray(image[:, :, ::-1]), way_back


def _varies(augment: AugmentConfig) -> bool:
    kinds = ("flip", "translate", "scale", "brightness", "contrast", "saturation", "mosaic")
    return any(getattr(augment, kind) for kind in kinds)


def epoch_order(images: TrainingImages, epoch: int, batch_size: int) -> list[list[int]]:
    """The pictures of each batch of one epoch, shuffled; a last batch that would not be full is left out."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(images.seed * 100_003 + epoch)).tolist()
    full = len(order) - len(order) % batch_size if len(order) > batch_size else len(order)
    return [order[first : first + batch_size] for first in range(0, full, batch_size)]


def load_batches(
    images: TrainingImages,
    epoch: int,
    indices: Sequence[list[int]],
    workers: int = 1,
    sizes_hw: Sequence[tuple[int, int]] | None = None,
    ahead: int = 2,
) -> Iterator[Batch]:
    """Batches of the named pictures, in that order; the next ones are made while one is in use.

    Args:
        images: where the pictures are from.
        epoch: 0-based; how they vary follows from it.
        indices: of the pictures of each batch.
        workers: threads that decode and vary pictures, at least 1. OpenCV works outside the interpreter's lock, and
            threads share the cache and leave no process behind.
        sizes_hw: height and width of each batch's pictures; None gives all the network's size.
        ahead: batches in work or ready while one is in use.
    Yields:
        Images in uint8, channels last in memory, as `Batch` says.
    """
    sizes = [images.input_hw] * len(indices) if sizes_hw is None else sizes_hw
    waiting: deque[_LoadingBatch] = deque()
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="pictures", initializer=_compute_alone)
    try:
        for chosen, size_hw in zip(indices, sizes, strict=True):
            waiting.append(_LoadingBatch(pool, images, epoch, chosen, size_hw))
            if len(waiting) > ahead:
                yield waiting.popleft().whole()
        while waiting:
            yield waiting.popleft().whole()
    finally:
        pool.shutdown(cancel_futures=True)


def _compute_alone() -> None:
    """Let torch use this thread alone: a team for every thread that loads would take the network's cores from it."""
    torch.set_num_threads(1)


class _LoadingBatch:
    """A batch whose pictures are in work."""

    def __init__(
        self, pool: ThreadPoolExecutor, images: TrainingImages, epoch: int, chosen: list[int], size_hw: tuple[int, int]
    ) -> None:
        self._chosen, self._plain = chosen, not images.varied and size_hw == images.input_hw
        self._pixels = np.empty((len(chosen), *size_hw, 3), np.uint8)

        def load(position: int, index: int) -> Tensor:
            image, truths = images.item(index, epoch, size_hw)
            self._pixels[position] = pixels_of(image)
            return torch.cat([torch.full((len(truths), 1), float(position)), truths], 1)

        self._truths: list[Future[Tensor]] = [pool.submit(load, *entry) for entry in enumerate(chosen)]

    def whole(self) -> Batch:
        """The batch, as soon as its last picture is there."""
        truths = torch.cat([future.result() for future in self._truths])
        images = torch.from_numpy(self._pixels).permute(0, 3, 1, 2)
        return Batch(images, truths, torch.tensor(self._chosen), self._plain)


def to_input(images: Tensor) -> Tensor:
    """Network input of uint8 images: float32 in 0..1."""
    return images.float() / 255
