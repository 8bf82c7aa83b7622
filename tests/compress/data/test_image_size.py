"""Sizes from headers against OpenCV's own decoding."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from compress.data.image_size import NoImageError, decode_image, image_size_hw

PIXELS = np.random.default_rng(0).integers(0, 255, (37, 53, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".ppm", ".tif"])
def test_size_as_decoded(tmp_path: Path, suffix: str) -> None:
    """Every format gives the height and width that decoding gives."""
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(cv2.imencode(suffix, PIXELS)[1].tobytes())
    assert image_size_hw(path) == decode_image(path).shape[:2] == (37, 53)


def test_progressive_jpeg(tmp_path: Path) -> None:
    """The size is found in progressive JPEG files too."""
    path = tmp_path / "picture.jpg"
    path.write_bytes(cv2.imencode(".jpg", PIXELS, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())
    assert image_size_hw(path) == (37, 53)


def test_exif_rotation_counts(tmp_path: Path) -> None:
    """A JPEG that its EXIF block turns by 90 degrees has the size of the turned picture."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)  # orientation 6: turn clockwise
    exif = b"Exif\0\0" + b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    plain = cv2.imencode(".jpg", PIXELS)[1].tobytes()
    path = tmp_path / "picture.jpg"
    path.write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:])
    assert image_size_hw(path) == decode_image(path).shape[:2] == (53, 37)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\0" * 100])
def test_no_image(tmp_path: Path, content: bytes) -> None:
    """Cut-off headers and other bytes are no images."""
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    with pytest.raises(NoImageError):
        image_size_hw(path)


def test_a_cut_off_jpeg_is_told_as_one(tmp_path: Path) -> None:
    """Its beginning says what it was to be."""
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(NoImageError, match="a JPEG cut off after 4 bytes"):
        image_size_hw(path)


def test_folder_is_no_image(tmp_path: Path) -> None:
    """A folder and a missing file are no images."""
    for path in (tmp_path, tmp_path / "none.jpg"):
        with pytest.raises(NoImageError, match="no such file"):
            image_size_hw(path)
