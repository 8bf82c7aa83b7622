"""Annotated pictures on disk: a video, or a folder of JPEGs."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

import cv2

from board_app.annotate import annotated
from board_app.core.errors import InputError
from board_app.core.letterbox import letterbox
from board_app.frames import Result

# Motion JPEG in AVI is what every OpenCV build writes, the board's included.
VIDEO_CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".mkv": "MJPG"}
VIDEO_FPS = 10.0  # where the source has no rate of its own, such as a folder
JPEG_QUALITY = 90
SPARE_BYTES = 8 << 20  # of the disk, to finish a video with: its index takes 16 bytes a frame


class AnnotatedFolder:
    """Writes NAME.jpg (or frame-000000.jpg) for every frame into a new or empty folder.

    Raises:
        InputError: the folder holds something, which stays.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(
                f"--annotated {path}: expected a new or empty folder, found something there, which stays. "
                "Choose another path or empty it."
            )
        path.mkdir(parents=True, exist_ok=True)
        self._path, self._names = path, names

    def write(self, result: Result) -> None:
        """Write one picture."""
        frame = result.frame
        stem = f"frame-{frame.index:06d}" if frame.name is None else Path(frame.name).stem
        target = self._path / f"{stem}.jpg"
        if target.exists():  # a looping folder, or a.jpg beside a.png
            target = self._path / f"{stem}-{frame.index:06d}.jpg"
        canvas = annotated(frame.image_bgr, result.detections, self._names)
        _, encoded = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        try:
            target.write_bytes(encoded.tobytes())
        except OSError:  # no half picture stays
            if target.exists():
                target.unlink()
            raise

    def close(self) -> None:
        """Nothing is open between pictures."""


class AnnotatedVideo:
    """Writes a video of the first frame's size; other sizes are letterboxed into it.

    It has a temporary name until it is closed. cv2.VideoWriter does not tell that the disk is full, so the room is
    looked at before each picture.

    Raises:
        InputError: the file is there already, or cannot be written.
    """

    def __init__(self, path: Path, names: Sequence[str], fps: Optional[float]) -> None:
        if path.exists() or not path.parent.is_dir():
            found = "that file, which stays" if path.exists() else "no such folder"
            raise InputError(
                f"--annotated {path}: expected a new file in an existing folder, found {found}. Choose another path."
            )
        self._path, self._names, self._fps = path, names, fps or VIDEO_FPS
        self._partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
        self._writer: Optional[cv2.VideoWriter] = None
        self._size_hw: Tuple[int, int] = (0, 0)

    def _open(self, size_hw: Tuple[int, int]) -> cv2.VideoWriter:
        letters = VIDEO_CODECS[self._path.suffix.lower()].encode()
        codec = int.from_bytes(letters, "little")  # a "four character code"
        writer = cv2.VideoWriter(str(self._partial), codec, self._fps, size_hw[::-1])
        if not writer.isOpened():
            raise InputError(
                f"--annotated {self._path}: expected that OpenCV here can write such a video, found that it cannot. "
                "Take a name that ends with .avi, or a folder."
            )
        self._size_hw = size_hw
        return writer

    def write(self, result: Result) -> None:
        """Add one picture. Raises OSError when the disk is nearly full; the video so far can be finished."""
        canvas = annotated(result.frame.image_bgr, result.detections, self._names)
        if shutil.disk_usage(self._path.parent).free < canvas.nbytes + SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        if self._writer is None:
            self._writer = self._open((canvas.shape[0], canvas.shape[1]))
        self._writer.write(letterbox(canvas, self._size_hw)[0])

    def close(self) -> None:
        """Finish the video and give it its name."""
        if self._writer is not None:
            self._writer.release()
            os.replace(self._partial, self._path)


def open_annotated(path: Path, names: Sequence[str], fps: Optional[float]) -> Union[AnnotatedFolder, AnnotatedVideo]:
    """A video where the name ends like one (.avi, .mp4, .mkv), else a folder of JPEGs."""
    if path.suffix.lower() in VIDEO_CODECS:
        return AnnotatedVideo(path, names, fps)
    return AnnotatedFolder(path, names)
