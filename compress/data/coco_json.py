"""COCO labels: one JSON file a split with `images`, `annotations` and `categories`; boxes are x, y, width, height."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from board_app.core.errors import InputError
from compress.data.class_map import ClassMap
from compress.data.image_size import NoImageError, image_size_hw
from compress.data.problems import Complaint, Corners, Problem
from compress.data.sample import Sample, box_in_image, sample_of, stated_size_complaint


def read_coco_file(path: Path) -> dict[str, Any]:
    """The document of an annotation file.

    Raises:
        InputError: no such file, no JSON, or the three lists are not as COCO has them.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected COCO annotations, found no such file. Name an existing one") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: expected COCO annotations in JSON, found {error}. Replace the file") from error
    for key in ("images", "annotations", "categories"):
        entries = document.get(key) if isinstance(document, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise InputError(
                f"{path}: expected a list '{key}' of objects, as COCO has it, found none. Replace the file"
            )
    for entry in document["categories"]:
        if not isinstance(entry.get("id"), int) or not isinstance(entry.get("name"), str):
            raise InputError(f"{path}: expected categories with an 'id' and a 'name', found {entry}. Mend the file")
    return dict(document)


def coco_class_names(path: Path) -> tuple[str, ...]:
    """The category names of an annotation file in the order of their ids."""
    categories = read_coco_file(path)["categories"]
    return tuple(entry["name"] for entry in sorted(categories, key=lambda entry: entry["id"]))


def read_coco_split(root: Path, source: Path, classes: ClassMap, problems: list[Problem]) -> list[Sample]:
    """The samples of an annotation file; what is wrong goes to `problems`.

    The images are in `root`/SPLIT, as COCO itself ships them, or in `root`/images.
    """
    document = read_coco_file(source)
    names = {entry["id"]: entry["name"] for entry in document["categories"]}
    per_image: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for annotation in document["annotations"]:
        per_image[_key(annotation, "image_id")].append(annotation)
    own_folder = root / split_name(source)
    folder = own_folder if own_folder.is_dir() else root / "images"
    samples, seen = [], set()
    for entry in document["images"]:
        image_path, image_id = folder / str(entry.get("file_name")), _key(entry, "id")
        if image_path in seen or image_id in seen:
            message = (
                f"expected every image and every id once, found {image_path.name} (id {image_id}) again. Remove it"
            )
            problems.append(Problem(source, None, message))
            continue
        seen |= {image_path, image_id}
        annotations = per_image.pop(image_id, [])
        try:
            size_hw = image_size_hw(image_path)
        except NoImageError as error:
            problems.append(Problem(source, None, f"expected an image at {image_path}, found {error}. Add it"))
            continue
        stated = stated_size_complaint((entry.get("height"), entry.get("width")), size_hw, image_path)
        if stated is not None:
            problems.append(stated.at(source, None, image_path))
            annotations = []
        samples.append(_sample(annotations, image_path, size_hw, names, classes, source, problems))
    for image_id in per_image:
        message = f"expected annotations of listed images, found some of image {image_id}. Add or remove it"
        problems.append(Problem(source, None, message))
    return samples


def split_name(source: Path) -> str:
    """The split that an annotation file is of: `train2017` of instances_train2017.json."""
    return source.stem.removeprefix("instances_")


def _key(entry: dict[str, Any], name: str) -> str:
    """An id as JSON writes it, which tells 1 from "1" and has a place for whatever stands there."""
    return json.dumps(entry.get(name))


def _sample(
    annotations: Sequence[dict[str, Any]],
    image_path: Path,
    size_hw: tuple[int, int],
    names: dict[int, str],
    classes: ClassMap,
    source: Path,
    problems: list[Problem],
) -> Sample:
    boxes, class_ids = [], []
    for annotation in annotations:
        parsed = _parse(annotation, names, classes, size_hw)
        if isinstance(parsed, Complaint):
            told = replace(parsed, message=f"annotation {annotation.get('id')}: {parsed.message}")
            problems.append(told.at(source, None, image_path))
        elif parsed is not None:
            class_ids.append(parsed[0])
            boxes.append(parsed[1])
    return sample_of(image_path, boxes, class_ids)


def _parse(
    annotation: dict[str, Any], names: dict[int, str], classes: ClassMap, size_hw: tuple[int, int]
) -> tuple[int, Corners] | Complaint | None:
    """Class and box in pixels, None for a class that is left out, or what is wrong."""
    category = annotation.get("category_id")
    name = names.get(category) if isinstance(category, int) else None
    try:
        class_id = classes.id_of(name or "")
    except KeyError:
        listing = ", ".join(classes.classes)
        found = name or str(category)
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
