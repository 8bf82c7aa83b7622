"""YOLO text labels, as Darknet reads them: one line `class x_centre y_centre width height` a box, shares of the image.

A list file names the images, one a line, relative to the dataset's folder; the labels of `images/a/b.jpg` are in
`labels/a/b.txt`. An empty label file says that there is no damage; a missing one is a mistake.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from compress.data.class_map import ClassMap
from compress.data.image_size import IMAGE_SUFFIXES, NoImageError, image_size_hw
from compress.data.list_file import listed
from compress.data.problems import Complaint, Corners, Problem
from compress.data.sample import Sample, box_in_image, sample_of

_FIELDS = "class x_centre y_centre width height"


def label_path_of(image_path: Path) -> Path:
    """Where the labels of an image are: the last `images` folder of the path becomes `labels`."""
    parts = list(image_path.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def read_yolo_split(root: Path, source: Path, classes: ClassMap, problems: list[Problem]) -> list[Sample]:
    """The samples of a list file, or of a folder of images in name order; what is wrong goes to `problems`."""
    named: list[tuple[Path, int | None]]
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        named = [(path, None) for path in paths]
    else:
        named = [(root / name, line) for name, line in listed(source, problems)]
    samples = []
    for image_path, line in named:
        try:
            size_hw = image_size_hw(image_path)
        except NoImageError as error:
            place = source if line else image_path
            problems.append(Problem(place, line, f"expected an image at {image_path}, found {error}. Add or unlist it"))
            continue
        label_path = label_path_of(image_path)
        text = _label_text(label_path, image_path, problems)
        if text is not None:
            samples.append(parse_labels(text, label_path, image_path, size_hw, classes, problems))
    return samples


def parse_labels(
    text: str, label_path: Path, image_path: Path, size_hw: tuple[int, int], classes: ClassMap, problems: list[Problem]
) -> Sample:
    """The boxes of one label file in pixels; a line that is wrong goes to `problems` and is left out."""
    boxes, class_ids = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        parsed = _parse_line(line.split(), size_hw, classes)
        if isinstance(parsed, Complaint):
            problems.append(parsed.at(label_path, number, image_path))
            continue
        class_id = classes.id_of(classes.classes[parsed[0]])
        if class_id is not None:
            class_ids.append(class_id)
            boxes.append(parsed[1])
    return sample_of(image_path, boxes, class_ids)


def _parse_line(fields: list[str], size_hw: tuple[int, int], classes: ClassMap) -> tuple[int, Corners] | Complaint:
    """The class as the file counts and the box in pixels, or what is wrong."""
    if len(fields) != 5:
        return Complaint(f"expected 5 fields ({_FIELDS}), found {len(fields)}. Mend or remove the line")
    if not re.fullmatch("[0-9]{1,9}", fields[0]):
        return Complaint(f"expected a whole number as class, found {fields[0][:20]!r}. Mend or remove the line")
    count = len(classes.classes)
    if int(fields[0]) >= count:
        listing = ", ".join(classes.classes)
        found = f"found {fields[0]}. Mend the line or the class list"
        return Complaint(f"expected a class from 0 to {count - 1} ({listing}), {found}")
    values = [_number(field) for field in fields[1:]]
    for field, value in zip(fields[1:], values, strict=True):
        if value is None:
            return Complaint(f"expected a number, found {field!r}. Mend or remove the line")
    x, y, w, h = (value or 0.0 for value in values)
    height, width = size_hw
    corners = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    if w <= 0 or h <= 0:
        message = f"expected a width and a height above 0, found {fields[3]} {fields[4]}. Mend or remove the line"
        return Complaint(message, corners)
    box = box_in_image(corners, size_hw)
    return box if isinstance(box, Complaint) else (int(fields[0]), box)


def _number(field: str) -> float | None:
    """A finite number, else None."""
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in field else None


def _label_text(label_path: Path, image_path: Path, problems: list[Problem]) -> str | None:
    try:
        return label_path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        message = (
            f"expected the labels of {image_path} in this file, found no such file. "
            "Label the image; an empty file says that it shows no damage"
        )
        problems.append(Problem(label_path, None, message))
    except UnicodeDecodeError as error:
        problems.append(Problem(label_path, None, f"expected text, found bytes that are none ({error}). Replace it"))
    return None
