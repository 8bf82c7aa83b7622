"""A sheet of small pictures with their labelled boxes, to see in a moment what a dataset is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from board_app.core.atomic_file import write_bytes
from board_app.core.errors import InputError, UsageError
from compress.data.dataset import Dataset, Sample
from compress.data.image_size import NoImageError, decode_image

_COLOURS_BGR = ((60, 180, 255), (80, 220, 80), (255, 160, 60), (80, 80, 255), (220, 90, 220), (230, 230, 60))
_TILE_WIDTH, _COLUMNS, _ROWS, _CAPTION = 320, 5, 4, 18


def write_contact_sheet(path: Path, datasets: Mapping[str, Dataset]) -> None:
    """Write a PNG or JPEG of up to 20 pictures, spread evenly over the splits and in each over its samples.

    Raises:
        UsageError: the file name does not end in .png or .jpg.
        InputError: there is no picture to show.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageError(f"expected a figure's name ending in .png or .jpg, found {path}. Name another file")
    tiles = [tile for part, split, sample in _chosen(datasets) if (tile := _tile(part, split, sample)) is not None]
    if not tiles:
        raise InputError("expected pictures for the contact sheet, found none that decodes. Mend the dataset first")
    height = max(tile.shape[0] for tile in tiles)
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * height, columns * _TILE_WIDTH, 3), 255, np.uint8)
    for position, tile in enumerate(tiles):
        top, left = position // columns * height, position % columns * _TILE_WIDTH
        sheet[top : top + tile.shape[0], left : left + _TILE_WIDTH] = tile
    encoded = cv2.imencode(path.suffix.lower(), sheet)[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, encoded.tobytes())


def _chosen(datasets: Mapping[str, Dataset]) -> list[tuple[Dataset, str, Sample]]:
    filled = {split: part for split, part in datasets.items() if part.samples}
    share = _COLUMNS * _ROWS // max(len(filled), 1)
    chosen = []
    for split, part in filled.items():
        indices = np.unique(np.linspace(0, len(part.samples) - 1, max(share, 1)).round().astype(int))
        chosen += [(part, split, part.samples[index]) for index in indices]
    return chosen


def _tile(part: Dataset, split: str, sample: Sample) -> np.ndarray | None:
    """One picture with boxes and a caption, uint8 BGR (h, _TILE_WIDTH, 3); None if it does not decode."""
    try:
        image = decode_image(sample.image_path)
    except NoImageError:
        return None  # the report tells about it
    scale = _TILE_WIDTH / image.shape[1]
    shown = cv2.resize(image, (_TILE_WIDTH, max(1, round(image.shape[0] * scale))), interpolation=cv2.INTER_AREA)
    for box, index in zip(sample.boxes_xyxy, sample.class_id, strict=True):
        colour = _COLOURS_BGR[index % len(_COLOURS_BGR)]
        x1, y1, x2, y2 = (int(round(float(corner) * scale)) for corner in box)
        cv2.rectangle(shown, (x1, y1), (x2, y2), colour, 2)
        _write(shown, part.classes[index], (x1 + 2, max(y1 - 4, 12)), colour)
    caption = np.full((_CAPTION, _TILE_WIDTH, 3), 255, np.uint8)
    cv2.putText(
        caption, f"{split} {sample.image_path.name}"[:52], (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1
    )
    return np.vstack([shown, caption])


def _write(image: np.ndarray, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
