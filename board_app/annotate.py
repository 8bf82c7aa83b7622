"""Boxes and labels drawn onto a copy of the picture."""

from __future__ import annotations

from typing import Sequence, Tuple

import cv2
import numpy as np

from board_app.core.detections import Detections

# Bright, apart in hue and lightness, readable on asphalt (BGR); the same list is in web/page.js for the page's legend.
CLASS_COLOURS_BGR = (
    (66, 176, 255),
    (113, 204, 46),
    (255, 160, 70),
    (80, 80, 255),
    (230, 110, 200),
    (90, 225, 240),
    (200, 200, 60),
    (170, 130, 255),
)


def colour_of(class_id: int) -> Tuple[int, int, int]:
    """The colour (BGR) of a class."""
    return CLASS_COLOURS_BGR[class_id % len(CLASS_COLOURS_BGR)]


def shown_names(classes: Sequence[str], labels: Sequence[str]) -> Tuple[str, ...]:
    """What to write at a box: code and label, or the code alone where OpenCV's letters lack some of the label."""
    names = []
    for name, label in zip(classes, labels):
        names.append(name if label == name or not label.isascii() else f"{name} {label}")
    return tuple(names)


def annotated(image_bgr: np.ndarray, detections: Detections, names: Sequence[str]) -> np.ndarray:
    """A copy of the picture with a box, name and confidence for each detection.

    Args:
        image_bgr: uint8, shape (H, W, 3); not changed.
        detections: strongest first; the strongest is drawn last, so on top.
        names: what to write, by class.
    """
    canvas = image_bgr.copy()
    unit = max(min(image_bgr.shape[:2]) / 480.0, 0.6)
    for index in reversed(range(len(detections))):
        class_id = int(detections.class_id[index])
        text = f"{names[class_id]} {round(100 * float(detections.confidence[index]))}%"
        _draw(canvas, detections.boxes_xyxy[index], text, colour_of(class_id), unit)
    return canvas


def _draw(canvas: np.ndarray, box_xyxy: np.ndarray, text: str, colour: Tuple[int, int, int], unit: float) -> None:
    height, width = canvas.shape[:2]
    left, top, right, bottom = (int(round(float(v))) for v in box_xyxy)
    thick = max(1, int(round(2 * unit)))
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, thick, cv2.LINE_AA)
    font_scale, pad = 0.45 * unit, int(round(4 * unit))
    font = cv2.FONT_HERSHEY_DUPLEX if unit >= 1 else cv2.FONT_HERSHEY_SIMPLEX  # thin strokes stay readable when small
    (text_width, text_height), base = cv2.getTextSize(text, font, font_scale, 1)
    tag_width, tag_height = text_width + 2 * pad, text_height + base + pad
    x = min(max(left - thick // 2, 0), max(width - tag_width, 0))
    y = top - tag_height  # above the box; where that is outside: inside a tall box, below a flat one
    if y < 0:
        y = max(top, 0) if bottom - top >= 3 * tag_height else bottom
    y = min(max(y, 0), max(height - tag_height, 0))
    cv2.rectangle(canvas, (x, y), (x + tag_width, y + tag_height), colour, cv2.FILLED)
    cv2.putText(canvas, text, (x + pad, y + tag_height - base), font, font_scale, (20, 20, 20), 1, cv2.LINE_AA)
