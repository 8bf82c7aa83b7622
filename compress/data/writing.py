"""Writing datasets as YOLO, VOC or COCO folders, each with a `dataset.yaml` that `open_dataset` reads.

Precision: YOLO has eight decimals (below 1e-5 pixels at any usual size); VOC and COCO give back the very same float32.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import yaml

from board_app.core.errors import InputError
from compress.data.dataset import Dataset, Sample
from compress.data.layout import DATASET_FILE, Kind
from compress.data.whole_folder import whole_folder

_IMAGE_FOLDERS = {"images", "JPEGImages"}


def write_dataset(
    folder: Path, splits: Mapping[str, Dataset], kind: Kind, scenes: Mapping[Path, int] | None = None
) -> None:
    """Write the splits of one dataset, images copied, as a new folder.

    Args:
        folder: is made.
        splits: by name.
        kind: how labels are written.
        scenes: of each image file, for a list scenes.csv with `image,split,scene`.

    Raises:
        UsageError: there is something at `folder`.
        InputError: two images would have the same name.
        OSError: the disk is full; nothing is left at `folder` then.
    """
    names = _new_names([sample.image_path for part in splits.values() for sample in part.samples])
    with whole_folder(folder) as partial:
        sources = {split: _WRITERS[kind](partial, split, part, names) for split, part in splits.items()}
        first = next(iter(splits.values()))
        write_dataset_file(partial, first, kind, sources)
        if scenes is not None:
            lines = [
                f"{Path(names[sample.image_path]).stem},{split},{scenes[sample.image_path]}\n"
                for split, part in splits.items()
                for sample in part.samples
            ]
            (partial / "scenes.csv").write_text("image,split,scene\n" + "".join(lines), encoding="utf-8")


def write_dataset_file(
    folder: Path, described: Dataset, kind: Kind, splits: Mapping[str, str], parameters: Mapping[str, Any] | None = None
) -> None:
    """Write dataset.yaml (and classes.txt for YOLO); `splits` maps names to paths relative to the folder."""
    document: dict[str, Any] = {
        "name": described.name,
        "origin": described.origin,
        "format": kind,
        "classes": list(described.classes),
        "labels": list(described.labels or described.classes),
        "splits": dict(splits),
    }
    if parameters:
        document["parameters"] = dict(parameters)
    if kind == "yolo":
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in described.classes), encoding="utf-8")
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    (folder / DATASET_FILE).write_text(text, encoding="utf-8")


def label_text(boxes_xyxy: np.ndarray, class_id: np.ndarray, size_hw: tuple[int, int]) -> str:
    """YOLO lines of boxes in pixels, float (N, 4), in an image of that size."""
    height, width = size_hw
    lines = []
    for (x1, y1, x2, y2), index in zip(np.asarray(boxes_xyxy, np.float64), class_id, strict=True):
        shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{int(index)} " + " ".join(f"{share:.8f}" for share in shares) + "\n")
    return "".join(lines)


def _new_names(paths: list[Path]) -> dict[Path, str]:
    """A file name for every image: its own where all stems differ, else with its folders in front."""
    stems = Counter(path.stem for path in paths)
    if len(stems) == len(set(paths)):
        return {path: path.name for path in paths}
    names = {path: _with_folders(path) for path in paths}
    twice = [name for name, count in Counter(Path(name).stem for name in names.values()).items() if count > 1]
    if twice:
        raise InputError(f"expected different image names, found {twice[0]} twice. Rename one of the two images")
    return names


def _with_folders(path: Path) -> str:
    """`…/images/train/7.jpg` and `…/train/images/7.jpg` give `train_7.jpg`."""
    parts = path.parts
    at = max((i for i, part in enumerate(parts) if part in _IMAGE_FOLDERS), default=len(parts) - 2)
    below = parts[at + 1 : -1] or parts[max(at - 1, 0) : at]
    return "_".join([*below, path.name])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _write_yolo(folder: Path, split: str, part: Dataset, names: Mapping[Path, str]) -> str:
    (folder / "labels").mkdir(exist_ok=True)
    listing = []
    for sample in part.samples:
        name = names[sample.image_path]
        _copy(sample.image_path, folder / "images" / name)
        text = label_text(sample.boxes_xyxy, sample.class_id, sample.size_hw)
        (folder / "labels" / name).with_suffix(".txt").write_text(text, encoding="utf-8")
        listing.append(f"images/{name}\n")
    (folder / f"{split}.txt").write_text("".join(listing), encoding="utf-8")
    return f"{split}.txt"


def _write_voc(folder: Path, split: str, part: Dataset, names: Mapping[Path, str]) -> str:
    (folder / "Annotations").mkdir(exist_ok=True)
    (folder / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
    for sample in part.samples:
        name = names[sample.image_path]
        _copy(sample.image_path, folder / "JPEGImages" / name)
        text = _annotation(sample, name, part.classes)
        (folder / "Annotations" / name).with_suffix(".xml").write_text(text, encoding="utf-8")
    listing = "".join(f"{Path(names[sample.image_path]).stem}\n" for sample in part.samples)
    (folder / f"ImageSets/Main/{split}.txt").write_text(listing, encoding="utf-8")
    return f"ImageSets/Main/{split}.txt"


def _annotation(sample: Sample, name: str, classes: tuple[str, ...]) -> str:
    height, width = sample.size_hw
    objects = []
    for box, index in zip(sample.boxes_xyxy, sample.class_id, strict=True):
        corners = "".join(
            f"<{tag}>{np.format_float_positional(value, trim='-')}</{tag}>"
            for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        label = escape(classes[index])
        objects.append(f"\t<object>\n\t\t<name>{label}</name>\n\t\t<bndbox>{corners}</bndbox>\n\t</object>\n")
    return (
        f"<annotation>\n\t<filename>{escape(name)}</filename>\n"
        f"\t<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
        f"{''.join(objects)}</annotation>\n"
    )


def _write_coco(folder: Path, split: str, part: Dataset, names: Mapping[Path, str]) -> str:
    (folder / "annotations").mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, sample in enumerate(part.samples, 1):
        name, (height, width) = names[sample.image_path], sample.size_hw
        _copy(sample.image_path, folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for box, index in zip(sample.boxes_xyxy.astype(np.float64), sample.class_id, strict=True):
            x1, y1, x2, y2 = (float(value) for value in box)
            annotation = {"id": len(annotations) + 1, "image_id": number, "category_id": int(index) + 1}
            sides = (x2 - x1, y2 - y1)
            annotations.append(annotation | {"bbox": [x1, y1, *sides], "area": sides[0] * sides[1], "iscrowd": 0})
    categories = [{"id": index, "name": name} for index, name in enumerate(part.classes, 1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    path = f"annotations/instances_{split}.json"
    (folder / path).write_text(json.dumps(document), encoding="utf-8")
    return path


_WRITERS: dict[str, Callable[[Path, str, Dataset, Mapping[Path, str]], str]] = {
    "yolo": _write_yolo,
    "voc": _write_voc,
    "coco": _write_coco,
}
