"""One labelled image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.data.image_size import image_size_hw
from compress.data.problems import Complaint, Corners

OVERSHOOT_PX = 1.0  # what rounding and 1-based coordinates push over the border; clipped, more is an error
_ROUNDING_PX = 1e-3  # of six decimals in a label file, on top


@dataclass(frozen=True)
class Sample:
    """An image file and its damage.

    Attributes:
        image_path: where the picture is.
        boxes_xyxy: float32 (N, 4), corners in pixels of the picture, inside it.
        class_id: int32 (N,), indices of the dataset's classes.
    """

    image_path: Path
    boxes_xyxy: np.ndarray
    class_id: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.class_id)
        if self.boxes_xyxy.shape != (count, 4) or self.class_id.shape != (count,):
            raise ValueError(f"expected (N, 4) boxes and (N,) ids, got {self.boxes_xyxy.shape}, {self.class_id.shape}")

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the picture, read from the file."""
        return image_size_hw(self.image_path)


def box_in_image(corners: Corners, size_hw: tuple[int, int]) -> Corners | Complaint:
    """The box clipped to the picture, or why it is none.

    Args:
        corners: xmin, ymin, xmax, ymax in pixels.
        size_hw: height and width of the picture.
    """
    x1, y1, x2, y2 = corners
    height, width = size_hw
    if not (x1 < x2 and y1 < y2):
        message = f"expected xmin < xmax and ymin < ymax, found {_shown(corners)}. Mend or remove the box"
        return Complaint(message, corners)
    limit = OVERSHOOT_PX + _ROUNDING_PX
    if min(x1, y1) < -limit or x2 > width + limit or y2 > height + limit:
        message = (
            f"expected a box inside the image of {width}x{height} pixels, found {_shown(corners)}. "
            "Mend the box, or give the image that was labelled"
        )
        return Complaint(message, corners)
    clipped = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        message = f"expected a box inside the image of {width}x{height} pixels, found one on its border. Remove the box"
        return Complaint(message, corners)
    return clipped


def stated_size_complaint(
    stated_hw: tuple[object, object], size_hw: tuple[int, int], image_path: Path
) -> Complaint | None:
    """What is wrong when labels state another size than their picture's; a side that is no number says nothing."""
    height, width = stated_hw
    if not isinstance(height, int) or not isinstance(width, int) or 0 in stated_hw or stated_hw == size_hw:
        return None
    return Complaint(
        f"expected the size of {image_path} ({size_hw[1]}x{size_hw[0]}), found {width}x{height}. "
        "Give the image that was labelled"
    )


def _shown(corners: Sequence[float]) -> str:
    return " ".join(f"{corner:.6g}" for corner in corners) + " (xmin ymin xmax ymax, pixels)"


def sample_of(image_path: Path, boxes: Sequence[Corners], class_ids: Sequence[int]) -> Sample:
    """A sample from plain lists, which may be empty."""
    return Sample(image_path, np.array(boxes, np.float32).reshape(-1, 4), np.array(class_ids, np.int32))
