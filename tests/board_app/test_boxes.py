"""Box maths against torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from board_app.core.boxes import clip_boxes, iou, nms
from board_app.core.detections import Detections


def random_detections(seed: int, count: int, classes: int = 3, extent: float = 100.0) -> Detections:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, extent, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, extent / 2, (count, 2))], 1).astype(np.float32)
    return Detections(boxes, rng.random(count, np.float32), rng.integers(0, classes, count).astype(np.int32))


@pytest.mark.parametrize("counts", [(0, 4), (4, 0), (0, 0), (1, 1), (7, 50)])
def test_iou_equals_torchvision(counts: tuple[int, int]) -> None:
    """The matrix of overlaps is torchvision's, for no boxes too."""
    a, b = random_detections(1, counts[0]).boxes_xyxy, random_detections(2, counts[1]).boxes_xyxy
    expected = torchvision.ops.box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert iou(a, b).shape == counts
    np.testing.assert_allclose(iou(a, b), expected, atol=1e-6)


def test_iou_of_empty_boxes_is_zero() -> None:
    """Two boxes without area overlap by 0, not by NaN."""
    point = np.array([[5, 5, 5, 5]], np.float32)
    assert iou(point, point)[0, 0] == 0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 120),
    classes=st.integers(1, 5),
    threshold=st.sampled_from([0.2, 0.45, 0.6]),
)
def test_nms_equals_torchvision(seed: int, count: int, classes: int, threshold: float) -> None:
    """The survivors are those of torchvision.ops.batched_nms, in the same order."""
    found = random_detections(seed, count, classes)
    expected = torchvision.ops.batched_nms(
        torch.from_numpy(found.boxes_xyxy),
        torch.from_numpy(found.confidence),
        torch.from_numpy(found.class_id),
        threshold,
    ).numpy()
    kept = nms(found, threshold, 1000)
    np.testing.assert_array_equal(kept.boxes_xyxy, found.boxes_xyxy[expected])
    np.testing.assert_array_equal(kept.confidence, found.confidence[expected])
    np.testing.assert_array_equal(kept.class_id, found.class_id[expected])


def test_nms_keeps_the_strongest_of_all_classes() -> None:
    """The limit counts the survivors of all classes together."""
    found = random_detections(3, 200, classes=4, extent=1000)
    everything = nms(found, 0.5, 1000)
    few = nms(found, 0.5, 10)
    assert len(few) == 10
    np.testing.assert_array_equal(few.confidence, everything.confidence[:10])


def test_nms_of_nothing() -> None:
    """No detections in, none out, shapes and types kept."""
    kept = nms(Detections.empty(), 0.5, 10)
    assert kept.boxes_xyxy.shape == (0, 4)
    assert kept.boxes_xyxy.dtype == np.float32 and kept.class_id.dtype == np.int32


def test_clip_boxes() -> None:
    """Boxes end at the picture's border."""
    clipped = clip_boxes(np.array([[-3, -4, 700, 500], [1, 2, 3, 4]], np.float32), (480, 640))
    np.testing.assert_array_equal(clipped, [[0, 0, 640, 480], [1, 2, 3, 4]])
