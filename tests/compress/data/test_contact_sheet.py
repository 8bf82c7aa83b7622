"""What the contact sheet shows, in which order and with which colours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from board_app.core.errors import InputError
from compress.data.check import check_dataset
from compress.data.contact_sheet import write_contact_sheet
from compress.data.sheet_pictures import Shown, pictures_to_look_at

RED_BGR = np.array([0, 0, 255])


def red_pixels(path: Path, shown: Shown) -> int:
    """How many pure red pixels are in the picture part of a sheet with this alone."""
    write_contact_sheet(path, [shown])
    return int((cv2.imread(str(path))[:-18] == RED_BGR).all(-1).sum())


def test_order(yolo_folder: Path) -> None:
    """Pairs first, then wrong pictures, extreme boxes and a sample of all; captions say why."""
    content = (yolo_folder / "images/a.jpg").read_bytes()
    (yolo_folder / "images/c.jpg").write_bytes(content)
    (yolo_folder / "labels/a.txt").write_text("0 0.5 0.5 0.2 0.5\n2 2 0.25 0.5 0.5\n")
    report = check_dataset(yolo_folder)
    captions = [shown.caption for shown in pictures_to_look_at(report.datasets, report.problems)]
    assert captions[:3] == ["alike: val c.jpg", "alike: train a.jpg", "wrong: train a.jpg"]
    assert [caption.split()[0] for caption in captions[3:9]] == ["smallest"] * 2 + ["largest"] * 2 + ["oddest"] * 2
    assert captions[9:] == ["train a.jpg", "train b.png", "val c.jpg"]


def test_wrong_boxes_are_red_even_outside(yolo_folder: Path, tmp_path: Path) -> None:
    """A box beyond the picture widens the canvas, so that it is seen; a right one has no red."""
    path = yolo_folder / "images/a.jpg"
    outside = Shown(path, "", wrong=((90.0, 10.0, 140.0, 60.0),))
    right = Shown(path, "", boxes=(((10.0, 10.0, 40.0, 60.0), "D00", 0),))
    assert red_pixels(tmp_path / "sheet.png", outside) > 300
    assert red_pixels(tmp_path / "sheet.png", right) == 0


@pytest.mark.parametrize("box", [(-9e9, -9e9, 9e9, 9e9), (500.0, 0.0, 600.0, 9.0), (5.0, 5.0, 5.0, 5.0)])
def test_no_wrong_box_is_too_wrong(yolo_folder: Path, tmp_path: Path, box: tuple[float, float, float, float]) -> None:
    """Huge, far and empty boxes make no huge sheet."""
    write_contact_sheet(tmp_path / "sheet.png", [Shown(yolo_folder / "images/a.jpg", "", wrong=(box,))])
    assert max(cv2.imread(str(tmp_path / "sheet.png")).shape) < 500


def test_a_picture_that_does_not_decode_has_its_tile(tmp_path: Path) -> None:
    """Grey, with its caption; without any picture there is no sheet."""
    (tmp_path / "a.jpg").write_text("none")
    write_contact_sheet(tmp_path / "sheet.png", [Shown(tmp_path / "a.jpg", "wrong: a.jpg")])
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (320 + 18, 320, 3)
    with pytest.raises(InputError, match="found none"):
        write_contact_sheet(tmp_path / "sheet.png", [])
