"""The detections of one image, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np


@dataclass(frozen=True)
class Detections:
    """What was found in one image, strongest first where the order matters.

    Attributes:
        boxes_xyxy: float32, shape (N, 4), corners in pixels of the source image.
        confidence: float32, shape (N,), objectness x class score.
        class_id: int32, shape (N,).
        track_id: int32, shape (N,), or None where nothing was tracked.
    """

    boxes_xyxy: np.ndarray
    confidence: np.ndarray
    class_id: np.ndarray
    track_id: Optional[np.ndarray] = None

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy)
        if self.boxes_xyxy.shape != (count, 4):
            raise ValueError(f"boxes_xyxy must have shape (N, 4), got {self.boxes_xyxy.shape}")
        for name in ("confidence", "class_id", "track_id"):
            array = getattr(self, name)
            if array is not None and array.shape != (count,):
                raise ValueError(f"{name} must have shape ({count},), got {array.shape}")

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    @classmethod
    def empty(cls) -> "Detections":
        """No detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    def select(self, index: np.ndarray) -> "Detections":
        """The detections at the given indices or where the mask is true."""
        track_id = None if self.track_id is None else self.track_id[index]
        return Detections(self.boxes_xyxy[index], self.confidence[index], self.class_id[index], track_id)
