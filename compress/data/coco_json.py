"""COCO labels: one JSON file a split with `images`, `annotations` and `categories`; boxes are x, y, width, height."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from board_app.core.errors import InputError
from compress.data.class_map import ClassMap
from compress.data.image_size import NoImageError, image_size_hw
from compress.data.problems import Complaint, Corners, Problem
from compress.data.sample import Sample, box_in_image, sample_of


def read_coco_file(path: Path) -> dict[str, Any]:
    """The document of an annotation file.

    Raises:
        InputError: no such file, no JSON, or one of the three lists is missing.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected COCO annotations, found no such file. Name an existing one") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: expected COCO annotations in JSON, found {error}. Replace the file") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise InputError(f"{path}: expected a list '{key}' as COCO has it, found none. Replace the file")
    return dict(document)


def coco_class_names(path: Path) -> tuple[str, ...]:
    """The category names of an annotation file in the order of their ids."""
    categories = read_coco_file(path)["categories"]
    return tuple(str(entry["name"]) for entry in sorted(categories, key=lambda entry: int(entry["id"])))


def read_coco_split(root: Path, source: Path, classes: ClassMap, problems: list[Problem]) -> list[Sample]:
    """The samples of an annotation file, its images under `root`/images; what is wrong goes to `problems`."""
    document = read_coco_file(source)
    names = {entry["id"]: str(entry["name"]) for entry in document["categories"]}
    per_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in document["annotations"]:
        per_image[annotation.get("image_id")].append(annotation)
    samples = []
    for entry in document["images"]:
        image_path = root / "images" / str(entry.get("file_name"))
        try:
            size_hw = image_size_hw(image_path)
        except NoImageError as error:
            problems.append(Problem(source, None, f"expected an image at {image_path}, found {error}. Add it"))
            per_image.pop(entry.get("id"), None)
            continue
        boxes, class_ids = [], []
        for annotation in per_image.pop(entry.get("id"), []):
            parsed = _parse(annotation, names, classes, size_hw)
            if isinstance(parsed, Complaint):
                told = replace(parsed, message=f"annotation {annotation.get('id')}: {parsed.message}")
                problems.append(told.at(source, None, image_path))
            elif parsed is not None:
                class_ids.append(parsed[0])
                boxes.append(parsed[1])
        samples.append(sample_of(image_path, boxes, class_ids))
    for image_id in per_image:
        message = f"expected annotations of listed images, found some of image {image_id}. Add or remove it"
        problems.append(Problem(source, None, message))
    return samples


def _parse(
    annotation: dict[str, Any], names: dict[Any, str], classes: ClassMap, size_hw: tuple[int, int]
) -> tuple[int, Corners] | Complaint | None:
    """Class and box in pixels, None for a class that is left out, or what is wrong."""
    name = names.get(annotation.get("category_id"))
    try:
        class_id = classes.id_of(name or "")
    except KeyError:
        listing = ", ".join(classes.classes)
        found = name or str(annotation.get("category_id"))
        message = f"expected one of the classes {listing}, found {found!r}. Mend it, or map or ignore the class"
        return Complaint(message, unknown_class=found)
    if class_id is None:
        return None
    bbox = annotation.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_finite(value) for value in bbox):
        return Complaint(f"expected bbox with 4 numbers, found {bbox!r}. Mend or remove the annotation")
    x, y, w, h = (float(value) for value in bbox)
    box = box_in_image((x, y, x + w, y + h), size_hw)
    return box if isinstance(box, Complaint) else (class_id, box)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
