"""Anchors that fit a dataset: k-means over box shapes with 1 - IoU as the distance.

Source: Redmon & Farhadi, YOLO9000, arXiv:1612.08242, section 2 (dimension clusters).
"""

from __future__ import annotations

import numpy as np


def shape_iou(sizes_wh: np.ndarray, anchors_wh: np.ndarray) -> np.ndarray:
    """IoU of boxes laid on a common centre.

    Args:
        sizes_wh: float array (N, 2).
        anchors_wh: float array (K, 2).
    Returns:
        Float array (N, K).
    """
    overlap = np.minimum(sizes_wh[:, None], anchors_wh[None]).prod(2)
    return overlap / (sizes_wh.prod(1)[:, None] + anchors_wh.prod(1)[None] - overlap)


def fit_anchors(sizes_wh: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """The `count` anchors (count, 2) that fit the box sizes (N, 2) best, both in network pixels, by growing area.

    With fewer boxes than anchors they are scaled copies of the mean box.
    """
    sizes = np.asarray(sizes_wh, np.float64)
    if len(sizes) < count:
        scales = 2.0 ** np.linspace(-1, 1, count)[:, None]
        mean = sizes.mean(0, keepdims=True) if len(sizes) else np.array([[32.0, 32.0]])
        return mean * scales
    rng = np.random.default_rng(seed)
    ordered = sizes[np.argsort(sizes.prod(1))]
    anchors = ordered[np.linspace(0, len(ordered) - 1, count + 2).astype(int)[1:-1]]
    for _ in range(100):
        nearest = shape_iou(sizes, anchors).argmax(1)
        moved = np.array(
            [
                np.median(sizes[nearest == k], axis=0) if np.any(nearest == k) else sizes[rng.integers(len(sizes))]
                for k in range(count)
            ]
        )
        if np.allclose(moved, anchors):
            break
        anchors = moved
    return np.round(anchors[np.argsort(anchors.prod(1))], 1)
