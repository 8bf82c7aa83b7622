"""Pictures from a stream of JPEGs, one after another, on stdin."""

from __future__ import annotations

import logging
import os
import select
import threading
from typing import Iterator

from board_app.core.errors import SourceError
from board_app.file_sources import decoded
from board_app.frames import Frame, Source

_log = logging.getLogger(__name__)

_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
LARGEST_JPEG_BYTES = 32 << 20


class MjpegSource(Source):
    """Motion JPEG as `ffmpeg ... -f mjpeg -` writes it; the pipe makes the writer wait.

    Args:
        descriptor: of the open stream.
    """

    name = "-"

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor

    def _chunks(self, stop: threading.Event) -> Iterator[bytes]:
        while not stop.is_set():
            if select.select([self._descriptor], [], [], 0.2)[0]:
                chunk = os.read(self._descriptor, 1 << 16)
                if not chunk:
                    return
                yield chunk

    def _jpegs(self, stop: threading.Event) -> Iterator[bytes]:
        pending = bytearray()
        searched = 0
        for chunk in self._chunks(stop):
            pending += chunk
            while True:
                start = pending.find(_START)
                end = pending.find(_END, max(start + 2, searched)) if start >= 0 else -1
                if end < 0:
                    searched = max(len(pending) - 1, 0)
                    break
                yield bytes(pending[start : end + 2])
                del pending[: end + 2]
                searched = 0
            if len(pending) > LARGEST_JPEG_BYTES:
                raise SourceError(
                    f"stdin: expected Motion JPEG, found {len(pending)} bytes without a whole JPEG. "
                    "Pipe it in like this: ffmpeg -i INPUT -f mjpeg -q:v 3 - | python3 -m board_app --source - ..."
                )

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        index = 0
        for encoded in self._jpegs(stop):
            image = decoded(encoded)
            if image is None:
                self.unreadable += 1
                _log.warning("a JPEG on stdin cannot be read; skipped (%d so far)", self.unreadable)
                continue
            yield Frame(image, index)
            index += 1
        if index == 0 and not stop.is_set():
            raise SourceError(
                "stdin: expected Motion JPEG, found no JPEG before its end. "
                "Pipe it in like this: ffmpeg -i INPUT -f mjpeg -q:v 3 - | python3 -m board_app --source - ..."
            )
