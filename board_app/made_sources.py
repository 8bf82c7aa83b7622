"""Pictures that are made here: the synthetic drive, and a test picture with a counter."""

from __future__ import annotations

import threading
import time
from typing import Iterator, Optional, Tuple

import cv2
import numpy as np

from board_app.frames import Frame, Source


def _paced(stop: threading.Event, start_s: float, index: int, fps: Optional[float]) -> bool:
    """Wait until frame `index` is due; false when stopped."""
    if fps is None:
        return not stop.is_set()
    return not stop.wait(max(0.0, start_s + index / fps - time.monotonic()))


class DriveSource(Source):
    """A drive along a synthetic road: the same seed gives the same pictures.

    Args:
        seed: which road.
        size_hw: of the pictures.
        fps: of the drive's camera.
        paced: as a live camera does, at its own speed; otherwise every frame, as fast as the rest takes them.
    """

    def __init__(self, seed: int, size_hw: Tuple[int, int], fps: float, paced: bool) -> None:
        from board_app.core.road_scenes import RoadDrive

        self.name = f"drive:{seed}"
        self.fps = fps
        self.is_live = paced
        self._drive = RoadDrive(seed, size_hw, fps)

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        start_s, index = time.monotonic(), 0
        while _paced(stop, start_s, index, self.fps if self.is_live else None):
            yield Frame(self._drive.frame(index).image_bgr, index)
            index += 1


class FakeSource(Source):
    """A test picture with the frame's number, a red and a blue square, moving: to test and measure without a camera.

    Args:
        size_hw: of the pictures.
        fps: live at this rate; None: every frame, as fast as the rest takes them.
    """

    def __init__(self, size_hw: Tuple[int, int], fps: Optional[float]) -> None:
        self.name = f"fake:{size_hw[1]}x{size_hw[0]}" + (f"@{fps:g}" if fps else "")
        self.fps = fps
        self.is_live = fps is not None
        height, width = size_hw
        ramp = np.linspace(40, 200, 2 * width).astype(np.uint8)
        self._wide = np.repeat(np.stack([ramp, ramp[::-1], np.full_like(ramp, 90)], 1)[None], height, 0)
        self._size_hw = size_hw

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        height, width = self._size_hw
        start_s, index = time.monotonic(), 0
        while _paced(stop, start_s, index, self.fps):
            offset = index * 4 % width
            image = self._wide[:, offset : offset + width].copy()
            side, row = height // 4, height // 3
            for number, colour in enumerate(((0, 0, 255), (255, 0, 0))):
                left = (index * 3 + number * width // 2) % (width - side)
                image[row * number : row * number + side, left : left + side] = colour
            cv2.putText(
                image,
                str(index),
                (10, height - height // 12),
                cv2.FONT_HERSHEY_SIMPLEX,
                height / 240,
                (255, 255, 255),
                2,
            )
            yield Frame(image, index)
            index += 1
