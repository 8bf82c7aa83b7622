"""What a head section says, decoded as OpenCV's Darknet reader decodes it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from board_app.core.errors import InputError
from board_app.core.yolo_head import decode_heads
from compress.darknet.heads import check_trainable, heads_of
from compress.darknet.model_files import load_model, save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import randomise
from compress.darknet.testing_families import family_cfg


@pytest.mark.parametrize("name", ["yolov2", "yolov3-tiny", "yolov4-tiny"])
def test_boxes_and_scores_are_opencvs(name: str, tmp_path: Path) -> None:
    """Anchors in cells or pixels, softmax or sigmoids, centres beyond their cell: every box and score agrees.

    OpenCV leaves out what is below a threshold, and of a [region] what its own NMS drops: there it gives 0.
    """
    network = randomise(DarknetNetwork(family_cfg(name, 3, 96, 64, factor=1 / 8)))
    network.header.seen = 1
    paths = save_model(network, tmp_path)
    network = load_model(*paths)
    images = np.random.default_rng(0).random((1, 3, 96, 64), np.float32)
    reader = cv2.dnn.readNetFromDarknet(*map(str, paths))
    reader.setInput(images)
    theirs = reader.forward(reader.getUnconnectedOutLayersNames())
    with torch.no_grad():
        ours = network(torch.from_numpy(images))
    for head, raw, other in zip(network.heads, ours, theirs, strict=True):
        picture = [raw[0].permute(1, 2, 0).numpy()]
        found = decode_heads(picture, [head.spec("any")], (96, 64), 3, confidence_threshold=0.0, multi_label=True)
        size, size_twice = np.array([64, 96]), np.array([64, 96, 64, 96])
        boxes = np.concatenate([other[:, :2] - other[:, 2:4] / 2, other[:, :2] + other[:, 2:4] / 2], 1)
        np.testing.assert_allclose(found.boxes_xyxy[::3], boxes * size_twice, rtol=1e-4, atol=1e-3 * size.max())
        counted = other[:, 5:] > 0
        assert counted.sum() > 10
        np.testing.assert_allclose(found.confidence.reshape(-1, 3)[counted], other[:, 5:][counted], atol=1e-5)


def test_a_region_has_its_anchors_in_cells() -> None:
    """They become network pixels; the classes are one softmax."""
    (head,) = heads_of(family_cfg("yolov2", 3, 64, 96))
    assert (head.stride, head.softmax, head.scale_xy, head.layer) == (32, True, 1.0, 30)
    assert head.anchors[0] == pytest.approx((0.57273 * 32, 0.677385 * 32))


def test_a_yolo_picks_its_anchors_and_its_freedom() -> None:
    """YOLOv4-tiny's second head takes anchors 1 to 3, and its centres may leave the cell by 2.5 %."""
    first, second = heads_of(family_cfg("yolov4-tiny"))
    assert second.anchors == ((23, 27), (37, 58), (81, 82))
    assert (first.stride, second.stride, second.scale_xy, second.softmax) == (32, 16, 1.05, False)


def test_a_region_is_not_trained() -> None:
    """The message names the line and what to write in its place; [yolo] heads pass."""
    check_trainable(family_cfg("yolov4-tiny"))
    with pytest.raises(InputError, match=r"yolov2, line \d+: expected \[yolo\] heads.*Write a \[yolo\]"):
        check_trainable(family_cfg("yolov2"))
