"""Label files that belong to no image."""

from __future__ import annotations

from pathlib import Path

from compress.data.image_size import IMAGE_SUFFIXES
from compress.data.layout import CLASS_FILES, Layout
from compress.data.problems import Problem
from compress.data.voc_xml import annotation_folder, voc_images


def stray_labels(layout: Layout) -> list[Problem]:
    """Every label file without an image; COCO's and a VOC folder's own are told when they are read."""
    if layout.kind == "yolo":
        return _stray_texts(layout.root)
    if layout.kind == "voc" and all(source.is_file() for sources in layout.splits.values() for source in sources):
        return _stray_annotations(layout.root)
    return []


def _stray_texts(root: Path) -> list[Problem]:
    images = root / "images"
    known = {
        path.relative_to(images).with_suffix("") for path in images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES
    }
    return [
        _stray(path, images / path.relative_to(root / "labels").with_suffix(".jpg"))
        for path in sorted((root / "labels").rglob("*.txt"))
        if path.relative_to(root / "labels").with_suffix("") not in known and path.name not in CLASS_FILES
    ]


def _stray_annotations(root: Path) -> list[Problem]:
    annotations, known = annotation_folder(root), {path.stem for path in voc_images(root)}
    if annotations is None:
        return []
    return [
        _stray(path, root / "JPEGImages" / f"{path.stem}.jpg")
        for path in sorted(annotations.glob("*.xml"))
        if path.stem not in known
    ]


def _stray(path: Path, image_path: Path) -> Problem:
    return Problem(path, None, f"expected an image {image_path} (or .png …), found none. Add it or remove the labels")
