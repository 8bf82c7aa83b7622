"""A sheet of small pictures with their labelled boxes, to see what a dataset is and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from board_app.core.atomic_file import write_bytes
from board_app.core.errors import InputError, UsageError
from compress.data.image_size import NoImageError, decode_image
from compress.data.problems import Corners
from compress.data.sheet_pictures import Shown

_COLOURS_BGR = ((60, 180, 255), (80, 220, 80), (255, 160, 60), (220, 90, 220), (230, 230, 60), (200, 200, 200))
_RED_BGR = (0, 0, 255)
_TILE_WIDTH, _COLUMNS, _CAPTION = 320, 6, 18  # an even number of columns keeps pairs side by side
_TALLEST = 1.25  # of a tile's width; a taller picture is made narrower
_CANVAS_GREY = 225
_FAR_PX = 10_000  # where lines end that lead out of the tile


def check_figure_name(path: Path) -> None:
    """Raise UsageError if the file name does not end in .png or .jpg."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageError(f"expected a figure's name ending in .png or .jpg, found {path}. Name another file")


def write_contact_sheet(path: Path, pictures: Sequence[Shown]) -> None:
    """Write a PNG or JPEG of the pictures, row by row.

    Raises:
        UsageError: the file name does not end in .png or .jpg.
        InputError: there is no picture to show.
    """
    check_figure_name(path)
    tiles = [_tile(shown) for shown in pictures]
    if not tiles:
        raise InputError("expected pictures for the contact sheet, found none. Mend the dataset first")
    rows = [tiles[first : first + _COLUMNS] for first in range(0, len(tiles), _COLUMNS)]
    encoded = cv2.imencode(path.suffix.lower(), np.vstack([_row(row, min(_COLUMNS, len(tiles))) for row in rows]))[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, encoded.tobytes())


def _row(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles beside each other, as high as the highest."""
    height = max(tile.shape[0] for tile in tiles)
    row = np.full((height, columns * _TILE_WIDTH, 3), 255, np.uint8)
    for position, tile in enumerate(tiles):
        row[: tile.shape[0], position * _TILE_WIDTH : (position + 1) * _TILE_WIDTH] = tile
    return row


def _tile(shown: Shown) -> np.ndarray:
    """One picture with boxes and a caption, uint8 BGR (h, _TILE_WIDTH, 3); all grey if it does not decode."""
    try:
        image = decode_image(shown.image_path)
    except NoImageError:
        image = np.full((_TILE_WIDTH, _TILE_WIDTH, 3), _CANVAS_GREY, np.uint8)
    part, left, top = _part(image, shown)
    height, width = part.shape[:2]
    scale = min(_TILE_WIDTH / width, _TALLEST * _TILE_WIDTH / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    picture = np.full((size[1], _TILE_WIDTH, 3), 255, np.uint8)
    picture[:, : size[0]] = small

    def draw(box: Corners, name: str, colour: tuple[int, int, int]) -> None:
        corners = (np.array(box) - (left, top, left, top)) * scale
        x1, y1, x2, y2 = (int(corner) for corner in corners.round().clip(-_FAR_PX, _FAR_PX))
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 2)
        _write(picture, name, (max(x1 + 2, 0), min(max(y1 - 4, 12), size[1] - 4)), colour)

    for box, name, index in shown.boxes:
        draw(box, name, _COLOURS_BGR[index % len(_COLOURS_BGR)])
    for box in shown.wrong:
        draw(box, "wrong", _RED_BGR)
    caption = np.full((_CAPTION, _TILE_WIDTH, 3), 255, np.uint8)
    colour = _RED_BGR if shown.alarming else (0, 0, 0)
    cv2.putText(caption, shown.caption[:52], (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)
    return np.vstack([picture, caption])


def _part(image: np.ndarray, shown: Shown) -> tuple[np.ndarray, int, int]:
    """The part of the picture to show and where its corner is, x and y; grey where it goes beyond the picture.

    A box outside the picture widens the part, by half the picture's size at most on each side.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = shown.close or (0, 0, width, height)
    for box in shown.wrong:
        x1, y1 = max(min(x1, box[0] - 8), -width / 2), max(min(y1, box[1] - 8), -height / 2)
        x2, y2 = min(max(x2, box[2] + 8), 1.5 * width), min(max(y2, box[3] + 8), 1.5 * height)
    left, top, right, bottom = (round(side) for side in (x1, y1, x2, y2))
    canvas = np.full((max(bottom - top, 1), max(right - left, 1), 3), _CANVAS_GREY, np.uint8)
    seen = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    at_y, at_x = max(-top, 0), max(-left, 0)
    canvas[at_y : at_y + seen.shape[0], at_x : at_x + seen.shape[1]] = seen
    return canvas, left, top


def _write(image: np.ndarray, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
