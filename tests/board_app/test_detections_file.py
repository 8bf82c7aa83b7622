"""detections.jsonl."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from board_app.core.detections import Detections
from board_app.core.errors import InputError
from board_app.detections_file import DetectionsFile
from board_app.frames import Frame, Result, StageTimes

PICTURE = np.zeros((2, 2, 3), np.uint8)
TIMES = StageTimes(1, 2, 3, 4)
FIELDS = {"frame", "t_utc", "t_monotonic_ns", "boxes_xyxy", "confidence", "class_id", "track_id"}


def write(path: Path, results: list[Result]) -> None:
    sink = DetectionsFile(path)
    for result in results:
        sink.write(result)
    sink.close()


def test_a_frame_without_detections(tmp_path: Path) -> None:
    """An empty frame has a line too, with empty lists."""
    write(tmp_path / "d.jsonl", [Result(Frame(PICTURE, 3, None, 0.0625, 99), Detections.empty(), TIMES)])
    (line,) = (tmp_path / "d.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert set(record) == FIELDS
    assert record["frame"] == 3 and record["boxes_xyxy"] == [] and record["track_id"] is None
    assert record["t_utc"] == "1970-01-01T00:00:00.062Z" and record["t_monotonic_ns"] == 99


def test_fields_and_values(tmp_path: Path) -> None:
    """Boxes, confidence, classes and tracks come in equal length, rounded finely; files are named."""
    found = Detections(
        np.array([[1.23456, 2, 3, 4]], np.float32),
        np.array([0.1234567], np.float32),
        np.array([2], np.int32),
        np.array([7], np.int32),
    )
    write(tmp_path / "d.jsonl", [Result(Frame(PICTURE, 0, "a.jpg"), found, TIMES)])
    record = json.loads((tmp_path / "d.jsonl").read_text())
    assert record["boxes_xyxy"] == [[1.235, 2.0, 3.0, 4.0]] and record["confidence"] == [0.123457]
    assert record["class_id"] == [2] and record["track_id"] == [7] and record["image"] == "a.jpg"


def test_lines_are_there_at_once(tmp_path: Path) -> None:
    """Each line can be read as soon as it is written."""
    sink = DetectionsFile(tmp_path / "d.jsonl")
    for number in range(3):
        sink.write(Result(Frame(PICTURE, number), Detections.empty(), TIMES))
        assert len((tmp_path / "d.jsonl").read_text().splitlines()) == number + 1
    sink.close()


@pytest.mark.parametrize("before", ["", '{"frame":0}\n', '{"frame":0}\n{"fra'])
def test_what_is_there_stays(tmp_path: Path, before: str) -> None:
    """New lines come after old ones; a line cut off by a power failure is ended, not continued."""
    path = tmp_path / "d.jsonl"
    path.write_text(before)
    write(path, [Result(Frame(PICTURE, 5), Detections.empty(), TIMES)])
    text = path.read_text()
    assert text.startswith(before)
    assert json.loads(text.splitlines()[-1])["frame"] == 5


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder, or a file in a missing folder, is refused by name."""
    for path in (tmp_path, tmp_path / "missing" / "d.jsonl"):
        with pytest.raises(InputError, match="expected a file in an existing folder, found"):
            DetectionsFile(path)
