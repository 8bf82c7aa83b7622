"""Pictures from a camera or a network stream, opened again when lost."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Iterator, Optional, Tuple

from board_app.core.errors import SourceError
from board_app.frames import Frame, Source

_log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.5  # before the first attempt to open a lost source again; doubled each time
LONGEST_WAIT_S = 10.0

OpenCapture = Callable[[], Any]
"""Gives a cv2.VideoCapture, or anything with its isOpened, read, get and release."""


class CameraSource(Source):
    """A live source behind cv2.VideoCapture. Once it has worked, it is opened again for ever when lost.

    Args:
        name: to show, without credentials.
        open_capture: opens it once.
        advice: what to do when it cannot be opened.
        fps: as asked for.
    """

    is_live = True

    def __init__(self, name: str, open_capture: OpenCapture, advice: str, fps: Optional[float] = None) -> None:
        self.name = name
        self.fps = fps
        self._open_capture = open_capture
        self._capture = open_capture()
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(f"{name}: expected a camera or stream, found nothing that opens. {advice}")

    def _read(self) -> Tuple[bool, Any]:
        readable, image = self._capture.read()
        return bool(readable) and image is not None, image

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        index = 0
        while not stop.is_set():
            readable, image = self._read()
            if readable:
                yield Frame(image, index)
                index += 1
            else:
                self._reopen(stop)

    def _reopen(self, stop: threading.Event) -> None:
        lost_s, wait_s, attempt = time.monotonic(), FIRST_WAIT_S, 0
        _log.warning("%s gives no more pictures; opening it again", self.name)
        self._capture.release()
        while not stop.wait(wait_s):
            attempt += 1
            self._capture = self._open_capture()
            if self._capture.isOpened():
                self.reconnects += 1
                silent_s = time.monotonic() - lost_s
                _log.warning("%s is back after %.1f s, %d attempt(s)", self.name, silent_s, attempt)
                return
            self._capture.release()
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            _log.warning("%s: attempt %d failed, next in %.1f s", self.name, attempt, wait_s)

    def close(self) -> None:
        self._capture.release()
