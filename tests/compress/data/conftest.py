"""Small datasets to read, check and convert."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

CLASSES = ("D00", "D10", "Repair")


def write_image(path: Path, size_hw: tuple[int, int] = (80, 100), seed: int = 0) -> Path:
    """A noisy picture in any format of OpenCV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size_hw, 3)).astype(np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def write_text(path: Path, text: str) -> Path:
    """A text file, its folders too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def yolo_folder(tmp_path: Path) -> Path:
    """Three pictures of 100 x 80 pixels: a.jpg with two boxes, b.png without damage, c.jpg in val with one box."""
    root = tmp_path / "roads"
    write_text(root / "classes.txt", "".join(f"{name}\n" for name in CLASSES))
    write_text(root / "train.txt", "images/a.jpg\nimages/b.png\n")
    write_text(root / "val.txt", "images/c.jpg\n")
    for number, name in enumerate(("a.jpg", "b.png", "c.jpg")):
        write_image(root / "images" / name, seed=number)
    write_text(root / "labels/a.txt", "0 0.5 0.5 0.2 0.5\n2 0.25 0.25 0.5 0.5\n")
    write_text(root / "labels/b.txt", "")
    write_text(root / "labels/c.txt", "1 0.9 0.9 0.2 0.2\n")
    return root


@pytest.fixture
def voc_folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a VOC folder with one picture 7.jpg of 100 x 80 pixels and the given annotation."""

    def make(objects: str, head: str = "", size: str = "<width>100</width><height>80</height>") -> Path:
        root = tmp_path / "voc"
        write_image(root / "JPEGImages/7.jpg")
        text = f"{head}<annotation>\n<filename>7.jpg</filename><size>{size}</size>\n{objects}\n</annotation>"
        write_text(root / "Annotations/7.xml", text)
        return root

    return make
