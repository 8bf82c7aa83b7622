"""A synthetic drive as a video with true tracks: WebM (VP8), which the board's stock OpenCV decodes too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2

from board_app.core.errors import RoadslimError, UsageError
from board_app.core.road_scenes import ROAD_CLASSES, ROAD_LABELS, RoadDrive
from compress.data.progress import tracked
from compress.data.scenes import ORIGIN, generator_id
from compress.data.whole_folder import whole_folder

VIDEO_FILE, TRACKS_FILE, DRIVE_FILE = "drive.webm", "tracks.jsonl", "drive.json"


def make_drive(
    folder: Path, seed: int, seconds: float, fps: float, size_hw: tuple[int, int], replace: bool = False
) -> bool:
    """Render a drive: drive.webm, tracks.jsonl (a line a frame), drive.json; false when it is there already.

    Args:
        folder: where it goes; nothing is there until it is whole.
        seed: which road, 0 or more.
        seconds: how long, above 0.
        fps: frames a second.
        size_hw: height and width of the frames, even numbers.
        replace: whether what is at `folder` may go, if it is a drive.

    Raises:
        UsageError: a value out of range, or something else at `folder`.
        RoadslimError: OpenCV cannot write WebM here.
    """
    if seed < 0 or seconds <= 0 or fps <= 0 or not all(64 <= side <= 4096 and side % 2 == 0 for side in size_hw):
        raise UsageError(
            f"expected a seed of 0 or more, seconds and fps above 0 and even sides of 64 to 4096 pixels, found "
            f"seed {seed}, {seconds:g} s, {fps:g} fps, {size_hw[0]} x {size_hw[1]}. Mend the flags"
        )
    parameters = {"seed": seed, "seconds": seconds, "fps": fps, "size_hw": list(size_hw), "generator": generator_id()}
    document = {"origin": ORIGIN, "classes": ROAD_CLASSES, "labels": ROAD_LABELS, "parameters": parameters}
    there = _parameters_of(folder)
    if there == parameters:
        return False
    frames = max(1, round(seconds * fps))
    with whole_folder(folder, replace=replace and there is not None) as partial:
        _render(partial, RoadDrive(seed, size_hw, fps), frames, size_hw, fps)
        (partial / DRIVE_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return True


def _parameters_of(folder: Path) -> dict[str, Any] | None:
    """What made the drive at `folder`; None where there is none."""
    path = folder / DRIVE_FILE
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        return None
    return document.get("parameters") if isinstance(document, dict) else None


def _render(folder: Path, drive: RoadDrive, frames: int, size_hw: tuple[int, int], fps: float) -> None:
    video = folder / VIDEO_FILE
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"VP80"), fps, size_hw[::-1])
    if not writer.isOpened():
        raise RoadslimError(
            "expected an OpenCV that writes WebM (VP8), found one that does not. "
            "Install opencv-python-headless from PyPI: make setup"
        )
    with open(folder / TRACKS_FILE, "w", encoding="utf-8") as tracks:
        for index in tracked(range(frames), frames, "drive"):
            frame = drive.frame(index)
            writer.write(frame.image_bgr)
            line = {
                "frame": index,
                "boxes_xyxy": [[round(float(corner), 2) for corner in box] for box in frame.boxes_xyxy],
                "class_id": frame.class_id.tolist(),
                "track_id": frame.track_id.tolist(),
            }
            tracks.write(json.dumps(line) + "\n")
    writer.release()
    found = _count_frames(video)
    if found != frames:  # OpenCV does not tell when the disk is full
        raise RoadslimError(f"expected {frames} frames in the finished video, found {found}. Is the disk full?")


def _count_frames(video: Path) -> int:
    capture = cv2.VideoCapture(str(video))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count
