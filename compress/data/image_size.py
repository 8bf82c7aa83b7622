"""The size of an image file from its first bytes, without decoding the pixels."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})

_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame; the others share the range
_HEADER_BYTES = 1 << 16
_TRAILING_BYTES = 64  # some cameras write a few bytes after the end marker


class NoImageError(ValueError):
    """The file is missing, empty or no image; the message tells which."""


def image_size_hw(path: Path) -> tuple[int, int]:
    """Height and width of the picture as cv2.imread gives it (an EXIF rotation included).

    PNG and JPEG are read from their headers; everything else is decoded.

    Raises:
        NoImageError: there is no such file, or it does not look like an image.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(_HEADER_BYTES)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NoImageError("no such file") from error
    size = _png_size(head) or _jpeg_size(head)
    return size or decode_image(path).shape[:2]


def decode_image(path: Path) -> np.ndarray:
    """The whole picture, uint8 BGR (H, W, 3).

    Raises:
        NoImageError: there is no such file, or it does not decode.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NoImageError("no such file") from error
    if not content:
        raise NoImageError("an empty file")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise NoImageError(f"{len(content)} bytes that do not decode ({error.err})") from error
    if image is None and content[:2] == b"\xff\xd8" and b"\xff\xd9" not in content[-_TRAILING_BYTES:]:
        raise NoImageError(f"a JPEG cut off after {len(content)} bytes")
    if image is None:
        raise NoImageError(f"{len(content)} bytes that are no image")
    return image


def _png_size(head: bytes) -> tuple[int, int] | None:
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR" or len(head) < 24 or b"eXIf" in head:
        return None
    width, height = struct.unpack(">II", head[16:24])
    return height, width


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """From the start-of-frame segment; None where it is not in `head` or an EXIF block might turn the picture."""
    if head[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 9 <= len(head) and head[position] == 0xFF:
        marker = head[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        (length,) = struct.unpack(">H", head[position + 2 : position + 4])
        if marker in _SOF_MARKERS:
            height, width = struct.unpack(">HH", head[position + 5 : position + 9])
            return (height, width) if height and width else None
        if marker == 0xE1 and head[position + 4 : position + 8] == b"Exif":
            return None
        position += 2 + length
    return None
