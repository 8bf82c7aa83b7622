"""Anchors from box shapes."""

from __future__ import annotations

import numpy as np
import pytest

from compress.training.anchors import fit_anchors, shape_iou


def test_shape_iou_of_equal_and_of_nested_shapes() -> None:
    """1 for equal shapes, the ratio of areas for nested ones."""
    values = shape_iou(np.array([[4.0, 8.0], [2.0, 4.0]]), np.array([[4.0, 8.0]]))
    np.testing.assert_allclose(values, [[1.0], [0.25]])


@pytest.mark.parametrize("count", [3, 6, 9])
def test_clusters_are_found_again(count: int) -> None:
    """Boxes around some shapes give those shapes, smallest area first."""
    rng = np.random.default_rng(count)
    shapes = np.array([[8.0 * 1.7**k, 6.0 * 1.5**k] for k in range(count)])
    sizes = np.concatenate([shape * rng.normal(1, 0.02, (60, 2)) for shape in shapes])
    np.testing.assert_allclose(fit_anchors(sizes, count), shapes, rtol=0.05)


@pytest.mark.parametrize("boxes", [0, 1, 4])
def test_few_boxes_still_give_all_anchors(boxes: int) -> None:
    """Never fewer anchors than the network has, all positive and different."""
    anchors = fit_anchors(np.full((boxes, 2), 20.0), 9)
    assert anchors.shape == (9, 2) and np.all(anchors > 0) and len({tuple(a) for a in anchors}) == 9
