"""Drawing and annotated output."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from board_app.annotate import CLASS_COLOURS_BGR, annotated, shown_names
from board_app.annotated_output import SPARE_BYTES, AnnotatedFolder, AnnotatedVideo, open_annotated
from board_app.core.detections import Detections
from board_app.core.errors import InputError
from board_app.frames import Frame, Result, StageTimes

NAMES = ("D00 crack", "D40 pothole")


def one_box(box: list[float], class_id: int = 1) -> Detections:
    return Detections(np.array([box], np.float32), np.array([0.5], np.float32), np.array([class_id], np.int32))


def result(index: int, size_hw: tuple[int, int] = (120, 160), name: str | None = None) -> Result:
    frame = Frame(np.full((*size_hw, 3), 90, np.uint8), index, name)
    return Result(frame, one_box([40, 50, 100, 90]), StageTimes(0, 0, 0, 0))


def test_nothing_found_changes_nothing() -> None:
    """Without detections the copy equals the picture."""
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    np.testing.assert_array_equal(annotated(image, Detections.empty(), NAMES), image)


def test_box_is_drawn_in_the_colour_of_its_class_on_a_copy() -> None:
    """The box's edges carry the class colour; the original picture is untouched."""
    image = np.full((480, 640, 3), 90, np.uint8)
    canvas = annotated(image, one_box([100, 200, 300, 400]), NAMES)
    assert (image == 90).all()
    for y, x in ((300, 100), (300, 299), (399, 200)):
        assert canvas[y, x].tolist() == list(CLASS_COLOURS_BGR[1])
    assert (canvas[300, 200] == 90).all()


@pytest.mark.parametrize("box", [[-50, -50, 5, 5], [630, 470, 900, 900], [0, 0, 640, 480], [3, 3, 3, 3]])
def test_boxes_at_the_border_are_drawn(box: list[float]) -> None:
    """Boxes at and beyond the border are drawn without error, with their label inside the picture."""
    canvas = annotated(np.full((480, 640, 3), 90, np.uint8), one_box(box), NAMES)
    assert (canvas == CLASS_COLOURS_BGR[1]).all(-1).sum() > 200


def test_names_that_opencv_cannot_write() -> None:
    """A label outside ASCII is left out, its code stays; a label equal to its code is not repeated."""
    assert shown_names(("D40", "D00", "cat"), ("穴", "crack", "cat")) == ("D40", "D00 crack", "cat")


def test_folder_of_pictures(tmp_path: Path) -> None:
    """Each frame becomes a JPEG, named as its file or by number, never over another."""
    sink = open_annotated(tmp_path / "out", NAMES, None)
    assert isinstance(sink, AnnotatedFolder)
    for one in (result(0, name="a.png"), result(1, name="a.jpg"), result(2)):
        sink.write(one)
    sink.close()
    assert sorted(os.listdir(tmp_path / "out")) == ["a-000001.jpg", "a.jpg", "frame-000002.jpg"]
    image = cv2.imread(str(tmp_path / "out" / "a.jpg"))
    assert image is not None and image.shape == (120, 160, 3)


@pytest.mark.parametrize("name", ["drive.avi", "drive.mp4"])
def test_video(tmp_path: Path, name: str) -> None:
    """Frames become a video of the first frame's size and the source's rate; other sizes are fitted in."""
    sink = open_annotated(tmp_path / name, NAMES, 12.0)
    assert isinstance(sink, AnnotatedVideo)
    for index in range(5):
        sink.write(result(index, (120, 160) if index < 3 else (60, 60)))
    assert not (tmp_path / name).exists()
    sink.close()
    assert os.listdir(tmp_path) == [name]
    capture = cv2.VideoCapture(str(tmp_path / name))
    assert capture.get(cv2.CAP_PROP_FPS) == 12
    count = 0
    while (read := capture.read())[0]:
        assert read[1].shape == (120, 160, 3)
        count += 1
    capture.release()
    assert count == 5


def test_a_video_without_frames_leaves_nothing(tmp_path: Path) -> None:
    """No frames, no file."""
    open_annotated(tmp_path / "x.avi", NAMES, None).close()
    assert os.listdir(tmp_path) == []


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """An existing video and a folder with content are refused and stay."""
    (tmp_path / "x.avi").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.jpg").write_text("precious")
    for name in ("x.avi", "folder", "missing/x.avi"):
        with pytest.raises(InputError, match="Choose another path"):
            open_annotated(tmp_path / name, NAMES, None)
    assert (tmp_path / "x.avi").read_text() == (tmp_path / "folder" / "a.jpg").read_text() == "precious"


def test_a_full_disk_ends_a_video_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly full is said as an error, not swallowed as OpenCV does; the frames so far are a video."""
    sink = open_annotated(tmp_path / "x.avi", NAMES, 10.0)
    sink.write(result(0))
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=SPARE_BYTES))
    with pytest.raises(OSError, match="No space left on device"):
        sink.write(result(1))
    sink.close()
    capture = cv2.VideoCapture(str(tmp_path / "x.avi"))
    assert (capture.read()[0], capture.read()[0]) == (True, False)
    capture.release()


def test_a_full_disk_leaves_no_half_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture that did not fit goes, those before it stay."""
    sink = open_annotated(tmp_path / "out", NAMES, None)
    sink.write(result(0))

    def half(path: Path, content: bytes) -> None:
        path.open("wb").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left on device"):
        sink.write(result(1))
    assert os.listdir(tmp_path / "out") == ["frame-000000.jpg"]
