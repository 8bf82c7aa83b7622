"""detections.jsonl: one line a frame."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Dict

from board_app.core.atomic_file import PathLike
from board_app.core.errors import InputError
from board_app.frames import Result

SYNC_EVERY_S = 1.0  # at most this much is lost when the power goes


def record_of(result: Result) -> Dict[str, Any]:
    """The line's fields; boxes to 1/1000 pixel, confidence to 1e-6, `image` only where frames are files."""
    detections = result.detections
    record: Dict[str, Any] = {
        "frame": result.frame.index,
        "t_utc": result.frame.t_utc,
        "t_monotonic_ns": result.frame.t_monotonic_ns,
        "boxes_xyxy": [[round(v, 3) for v in box] for box in detections.boxes_xyxy.tolist()],
        "confidence": [round(v, 6) for v in detections.confidence.tolist()],
        "class_id": detections.class_id.tolist(),
        "track_id": None if detections.track_id is None else detections.track_id.tolist(),
    }
    if result.frame.name is not None:
        record["image"] = result.frame.name
    return record


class DetectionsFile:
    """Adds lines to a file; what is in it stays.

    A line is handed to the operating system as it is finished, and synced to the disk once a second. Where a run
    before was cut off in mid-line (power lost), the broken line is ended first, so that only that one is lost.

    Args:
        path: made if missing; its folder must exist.
    Raises:
        InputError: the path is a folder or lies in none.
    """

    def __init__(self, path: PathLike) -> None:
        self._path = path
        try:
            self._stream = open(path, "ab+")
        except (IsADirectoryError, FileNotFoundError, NotADirectoryError) as error:
            raise InputError(
                f"--detections {path}: expected a file in an existing folder, found {error.strerror}. Correct the path."
            ) from None
        self._synced_s = time.monotonic()
        if self._stream.seek(0, os.SEEK_END):
            self._stream.seek(-1, os.SEEK_END)
            if self._stream.read(1) != b"\n":
                self._stream.write(b"\n")

    def write(self, result: Result) -> None:
        """Add the line of one frame."""
        self._stream.write(json.dumps(record_of(result), separators=(",", ":")).encode() + b"\n")
        self._stream.flush()
        if time.monotonic() - self._synced_s >= SYNC_EVERY_S:
            os.fsync(self._stream.fileno())
            self._synced_s = time.monotonic()

    def close(self) -> None:
        """Sync and close."""
        with self._stream:
            self._stream.flush()
            os.fsync(self._stream.fileno())
