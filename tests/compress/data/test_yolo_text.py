"""YOLO label lines, right and wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from board_app.core.errors import InputError
from compress.data.class_map import ClassMap
from compress.data.dataset import open_dataset
from compress.data.problems import Problem
from compress.data.yolo_text import label_path_of, parse_labels

CLASSES = ClassMap(("D00", "D10", "Repair"))


def parsed(text: str) -> tuple[np.ndarray, list[Problem]]:
    """Boxes and problems of a label text for an image of 100 x 80 pixels."""
    problems: list[Problem] = []
    sample = parse_labels(text, Path("l.txt"), Path("i.jpg"), (80, 100), CLASSES, problems)
    return sample.boxes_xyxy, problems


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("9" * 5000 + " 0.5 0.5 0.1 0.1", "whole number as class, found '99999999999999999999'"),
        ("0 0.5 0.5 0.1", "expected 5 fields"),
        ("0 0.5 0.5 0.1 0.1 0.9", "found 6"),
        ("3 0.5 0.5 0.1 0.1", r"class from 0 to 2 \(D00, D10, Repair\), found 3"),
        ("-1 0.5 0.5 0.1 0.1", "whole number as class, found '-1'"),
        ("0.0 0.5 0.5 0.1 0.1", "whole number as class, found '0.0'"),
        ("D00 0.5 0.5 0.1 0.1", "whole number as class, found 'D00'"),
        ("² 0.5 0.5 0.1 0.1", "whole number as class"),
        ("0 half 0.5 0.1 0.1", "expected a number, found 'half'"),
        ("0 nan 0.5 0.1 0.1", "expected a number, found 'nan'"),
        ("0 0.5 0.5 inf 0.1", "expected a number, found 'inf'"),
        ("0 0_5 0.5 0.1 0.1", "expected a number, found '0_5'"),
        ("0 0.5 0.5 0 0.1", "width and a height above 0"),
        ("0 0.5 0.5 0.1 -0.1", "width and a height above 0"),
        ("0 0.95 0.5 0.13 0.1", "inside the image of 100x80 pixels, found 88.5 36 101.5 44"),
        ("0 0.5 -0.1 0.1 0.1", "inside the image"),
        ("0 1.5 0.5 0.1 0.1", "inside the image"),
        ("0 1.0025 0.5 0.005 0.1", "on its border"),
    ],
)
def test_wrong_line(line: str, expected: str) -> None:
    """Each wrong line is told with its number, and the right ones around it are kept."""
    boxes, problems = parsed(f"0 0.5 0.5 0.1 0.1\n{line}\n1 0.5 0.5 0.1 0.1\n")
    assert len(boxes) == 2
    assert [problem.line for problem in problems] == [2]
    assert re.search(expected, problems[0].message), problems[0].message


@pytest.mark.parametrize("text", ["", "\n", " \r\n\n"])
def test_no_boxes(text: str) -> None:
    """Blank lines say nothing, and that is no mistake."""
    boxes, problems = parsed(text)
    assert boxes.shape == (0, 4) and not problems


def test_overshoot_by_rounding_is_clipped() -> None:
    """Up to one pixel over the border is taken for rounding and clipped."""
    boxes, problems = parsed("0 0.955 0.5 0.1 1.02\n")
    assert not problems
    np.testing.assert_allclose(boxes, [[90.5, 0, 100, 80]], atol=1e-4)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("a/images/b/7.jpg", "a/labels/b/7.txt"),
        ("images/images/7.png", "images/labels/7.txt"),
        ("my_images/7.jpg", "my_images/7.txt"),
        ("images.jpg", "images.txt"),
        ("images/a.b.jpg", "labels/a.b.txt"),
    ],
)
def test_where_labels_are(image: str, label: str) -> None:
    """The last folder named images becomes labels; without one the labels are beside the image."""
    assert label_path_of(Path(image)) == Path(label)


def test_missing_label_file(yolo_folder: Path) -> None:
    """A missing label file is a mistake, and the expected file is named."""
    (yolo_folder / "labels/b.txt").unlink()
    with pytest.raises(InputError, match=r"labels/b.txt: expected the labels of .*images/b.png.*empty file"):
        open_dataset(yolo_folder)


def test_label_file_of_bytes(yolo_folder: Path) -> None:
    """A label file that is no text is told by name."""
    (yolo_folder / "labels/b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"labels/b.txt: expected text"):
        open_dataset(yolo_folder)


@pytest.mark.parametrize(
    ("content", "found"), [(None, "no such file"), (b"", "an empty file"), (b"no picture" * 20, "that are no image")]
)
def test_image_that_is_none(yolo_folder: Path, content: bytes | None, found: str) -> None:
    """A listed image that is missing, empty or something else is told with the line of the list."""
    (yolo_folder / "images/b.png").unlink()
    if content is not None:
        (yolo_folder / "images/b.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"train.txt:2: expected an image at .*images/b.png, found .*{found}"):
        open_dataset(yolo_folder)


def test_image_listed_twice(yolo_folder: Path) -> None:
    """A picture that is listed twice would count twice; both lines are told."""
    (yolo_folder / "train.txt").write_text("images/a.jpg\n\nimages/b.png\r\nimages/a.jpg\n")
    with pytest.raises(InputError, match=r"train.txt:4: .*images/a.jpg here and in line 1"):
        open_dataset(yolo_folder)
