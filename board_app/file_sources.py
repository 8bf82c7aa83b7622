"""Pictures from files: an image, a folder of images, a video."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Iterator, List, Optional

import cv2
import numpy as np

from board_app.core.errors import SourceError
from board_app.frames import Frame, Source

_log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def decoded(encoded: bytes) -> Optional[np.ndarray]:
    """The picture in the bytes of a file as uint8 BGR (H, W, 3), turned upright by its EXIF entry; None: it is none."""
    if not encoded:
        return None
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # such as absurd dimensions in the header
        return None


def read_image(path: Path) -> Optional[np.ndarray]:
    """The picture as uint8 BGR (H, W, 3), turned upright by its EXIF entry; None where the file is no picture.

    Raises:
        OSError: the file cannot be read at all.
    """
    return decoded(path.read_bytes())


class ImageSource(Source):
    """One image, or the images of a folder in the order of their names; not those of folders inside.

    Args:
        path: file or folder.
        loop: begin again after the last.
    """

    def __init__(self, path: Path, loop: bool = False) -> None:
        self.name = str(path)
        self._loop = loop
        self._paths: List[Path] = [path]
        if path.is_dir():
            self._paths = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not self._paths:
            raise SourceError(
                f"{path}: expected a folder with images ({', '.join(IMAGE_SUFFIXES)}), found none in it. "
                "Give the folder that holds the files themselves, or a video file."
            )

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        index = 0
        while True:
            before = index
            for path in self._paths:
                if stop.is_set():
                    return
                image = read_image(path)
                if image is None:
                    self.unreadable += 1
                    _log.warning("%s is no picture that can be read; skipped (%d so far)", path, self.unreadable)
                    continue
                yield Frame(image, index, path.name)
                index += 1
            if index == before:
                raise SourceError(
                    f"{self.name}: expected pictures, found {len(self._paths)} file(s) of which none can be read. "
                    "Open one in an image viewer; copy the files again if it fails there too."
                )
            if not self._loop:
                return


class VideoSource(Source):
    """A video file, every frame, as fast as the rest takes them.

    Args:
        path: of the file.
        loop: begin again at the end.
    """

    def __init__(self, path: Path, loop: bool = False) -> None:
        self.name = str(path)
        self._loop = loop
        self._path = path
        self._capture = self._open()
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or None

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise SourceError(
                f"{self._path}: expected a video, found a file that OpenCV here cannot open. The board's image plays "
                "WebM and raw or Motion-JPEG AVI only: ffmpeg -i FILE -c:v mjpeg -q:v 3 FILE.avi"
            )
        return capture

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        index = 0
        while True:
            before = index
            while not stop.is_set():
                readable, image = self._capture.read()
                if not readable:
                    break
                yield Frame(image, index)
                index += 1
            if stop.is_set():
                return
            self._report(index - before)
            if not self._loop:
                return
            self._capture.release()
            self._capture = self._open()

    def _report(self, count: int) -> None:
        announced = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if count == 0:
            raise SourceError(
                f"{self._path}: expected a video with at least one frame, found none that can be decoded. "
                "Play it elsewhere, or convert it: ffmpeg -i FILE -c:v mjpeg -q:v 3 FILE.avi"
            )
        if announced > count:
            self.unreadable += announced - count
            _log.warning("%s: read %d of the %d frames it announces", self._path, count, announced)

    def close(self) -> None:
        self._capture.release()
