"""Box maths on corner boxes: intersection over union and non-maximum suppression."""

from __future__ import annotations

from typing import List, Tuple

import numpy as np

from board_app.core.detections import Detections


def area(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Areas (N,) of boxes (N, 4)."""
    areas: np.ndarray = (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])
    return areas


def iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair.

    Args:
        a_xyxy: float, shape (N, 4).
        b_xyxy: float, shape (M, 4).
    Returns:
        float, shape (N, M); 0 where both boxes are empty.
    """
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])  # (N, M, 2)
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    sides = np.maximum(high - low, 0)
    common = sides[..., 0] * sides[..., 1]
    union = area(a_xyxy)[:, None] + area(b_xyxy)[None] - common
    ratio: np.ndarray = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return ratio


def clip_boxes(boxes_xyxy: np.ndarray, size_hw: Tuple[int, int]) -> np.ndarray:
    """The parts of the boxes (N, 4) inside a picture of that height and width; float32."""
    height, width = size_hw
    clipped: np.ndarray = np.clip(boxes_xyxy, 0, np.array([width, height, width, height]))
    return clipped.astype(np.float32)


def _keep_one_class(boxes_xyxy: np.ndarray, iou_threshold: float, most: int) -> List[int]:
    """Indices that survive, of boxes sorted by falling confidence."""
    kept: List[int] = []
    left = np.arange(len(boxes_xyxy))
    while len(left) and len(kept) < most:
        first, left = left[0], left[1:]
        kept.append(int(first))
        overlap = iou(boxes_xyxy[first : first + 1], boxes_xyxy[left])[0]
        left = left[overlap <= iou_threshold]
    return kept


def nms(detections: Detections, iou_threshold: float, max_detections: int) -> Detections:
    """Non-maximum suppression, each class by itself.

    Args:
        detections: in any order and any pixels.
        iou_threshold: a weaker box of the same class goes when its IoU with a kept one is above this.
        max_detections: of the survivors, so many of the strongest stay.
    Returns:
        The survivors, strongest first; equals keep their order.
    """
    order = np.argsort(-detections.confidence, kind="stable")
    by_confidence = detections.select(order)
    kept: List[int] = []
    for class_id in np.unique(by_confidence.class_id):
        members = np.flatnonzero(by_confidence.class_id == class_id)
        survivors = _keep_one_class(by_confidence.boxes_xyxy[members], iou_threshold, max_detections)
        kept.extend(members[survivors].tolist())
    return by_confidence.select(np.array(sorted(kept)[:max_detections], np.int64))
