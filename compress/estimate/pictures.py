"""Pictures to measure with: some of the dataset's, or rendered ones where it is not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from board_app.core.errors import UsageError
from board_app.core.road_scenes import ROAD_CLASSES, render_scene
from compress.data.sample import Sample
from compress.estimate.stage_estimate import Splits
from compress.stages.run import Run

_RENDERED = 8
_VALIDATION_SHARE = 0.2  # of the training pictures, where only their number is known


@dataclass(frozen=True)
class Pictures:
    """Samples to measure with, the classes, and how many there are in the run."""

    samples: Sequence[Sample]
    class_names: tuple[str, ...]
    splits: Splits
    note: str


@contextmanager
def pictures_of(run: Run, images: int | None) -> Iterator[Pictures]:
    """The run's pictures, or rendered ones in a folder that goes again, for so many training images.

    Raises:
        UsageError: there is no dataset and no number either.
        InputError: the dataset is wrong.
    """
    config = run.config
    if images is None:
        if not config.data.exists():
            raise UsageError(
                f"--estimate: expected the dataset {config.data}, found none. Give the number of training images "
                "instead: --images N"
            )
        splits = Splits(len(run.training_data.samples), len(run.validation_data.samples))
        yield Pictures(run.training_data.samples, run.class_names, splits, f"the images of {config.data}")
        return
    if images < 1:
        raise UsageError(f"--images: expected 1 or more, found {images}. Give the number of training images")
    splits = Splits(images, max(1, round(_VALIDATION_SHARE * images)))
    note = f"{images} images as said, {splits.val} more for validation and {len(ROAD_CLASSES)} classes assumed"
    with TemporaryDirectory() as folder:
        samples = [_rendered(seed, config.network.input_hw, Path(folder)) for seed in range(_RENDERED)]
        yield Pictures(samples, ROAD_CLASSES, splits, note)


def _rendered(seed: int, size_hw: tuple[int, int], folder: Path) -> Sample:
    scene, path = render_scene(seed, size_hw), folder / f"{seed}.jpg"
    cv2.imwrite(str(path), scene.image_bgr)
    return Sample(path, scene.boxes_xyxy, scene.class_id)
