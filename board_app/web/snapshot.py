"""JPEGs of the latest annotated frame, made only when somebody asks."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Optional

import cv2

from board_app.annotate import annotated, shown_names
from board_app.frames import Result
from board_app.health import Health

WIDEST = 1280  # wider pictures are made smaller for the page
JPEG_QUALITY = 80
_POLL_S = 0.02


@dataclass(frozen=True)
class Picture:
    """A JPEG and the frame it shows."""

    index: int
    jpeg: bytes


class Snapshots:
    """Encodes each frame at most once, however many watch."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._lock = threading.Lock()
        self._encoded: Optional[Result] = None
        self._picture: Optional[Picture] = None

    def latest(self) -> Optional[Picture]:
        """The newest frame as JPEG, None before the first."""
        result = self._health.latest()
        if result is None:
            return None
        with self._lock:
            if self._encoded is not result:
                self._picture = self._encode(result)
                self._encoded = result
            return self._picture

    def after(self, index: Optional[int], timeout_s: float) -> Optional[Picture]:
        """The first frame that is not `index`; None when there is none in time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            result = self._health.latest()
            if result is not None and result.frame.index != index:
                return self.latest()
            time.sleep(_POLL_S)
        return None

    def _encode(self, result: Result) -> Picture:
        canvas = annotated(result.frame.image_bgr, result.detections, shown_names(*self._health.names()))
        height, width = canvas.shape[:2]
        if width > WIDEST:
            canvas = cv2.resize(canvas, (WIDEST, round(height * WIDEST / width)), interpolation=cv2.INTER_AREA)
        _, encoded = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return Picture(result.frame.index, encoded.tobytes())
