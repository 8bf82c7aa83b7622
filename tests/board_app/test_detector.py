"""The detector as a whole, on a network that sees coloured squares."""

from __future__ import annotations

import numpy as np
import pytest

from board_app.core.bundle import DetectorSpec, HeadSpec
from board_app.core.detector import Detector

SPEC = DetectorSpec("squares", ("red", "blue"), (64, 64), (HeadSpec("head", 16, ((16.0, 16.0),), 3),))


def square_network(picture_rgb: np.ndarray) -> list[np.ndarray]:
    """One head that fires in the cells whose middle is pure red or pure blue."""
    assert picture_rgb.shape == (64, 64, 3) and picture_rgb.dtype == np.uint8
    head = np.full((4, 4, 7), -9, np.float32)
    head[..., :4] = 0
    middle = picture_rgb[8::16, 8::16].astype(int)
    for class_id, channel in enumerate((0, 2)):
        seen = (middle[..., channel] > 200) & (middle.sum(-1) < 300)
        head[seen, 4] = 6
        head[seen, 5 + class_id] = 6
    return [head]


def test_an_empty_road() -> None:
    """A grey picture gives no detections, of shape (0, 4)."""
    found = Detector(SPEC, square_network).detect(np.full((30, 60, 3), 90, np.uint8))
    assert found.boxes_xyxy.shape == (0, 4)


def test_boxes_come_back_in_source_pixels() -> None:
    """A red and a blue square of a wide picture (BGR) are found in its own pixels, in the right classes."""
    image = np.full((64, 128, 3), 90, np.uint8)  # network pixel = 2 source pixels, 16 rows of padding above
    image[0:32, 32:64] = (0, 0, 255)
    image[32:64, 96:128] = (255, 0, 0)
    found = Detector(SPEC, square_network).detect(image)
    by_class = dict(zip(found.class_id.tolist(), found.boxes_xyxy.tolist(), strict=True))
    assert by_class == {0: [32, 0, 64, 32], 1: [96, 32, 128, 64]}
    assert (found.confidence > 0.99).all()


def test_boxes_in_the_padding_are_dropped() -> None:
    """A detection that lies in the grey bars alone is not reported; one that reaches out is clipped."""
    head = np.full((4, 4, 7), 0, np.float32)
    head[..., 4:] = -9
    head[0, 0, 4:6] = 6  # rows 0..16: the upper bar
    head[1, 3, 4:6] = 6
    head[1, 3, 2:4] = 1  # grown beyond the right border
    found = Detector(SPEC, lambda picture: [head]).detect(np.zeros((64, 128, 3), np.uint8))
    assert len(found) == 1
    assert found.boxes_xyxy[0, 2] == 128 and found.boxes_xyxy[0, 1] == 0


def test_threshold_may_be_given() -> None:
    """A threshold given to the detector holds instead of the bundle's."""
    image = np.full((64, 64, 3), 90, np.uint8)
    image[:16, :16] = (0, 0, 255)
    assert len(Detector(SPEC, square_network).detect(image)) == 1
    assert len(Detector(SPEC, square_network, confidence_threshold=0.9999).detect(image)) == 0


def test_several_labels_per_cell() -> None:
    """With multi_label every class above the threshold is reported."""
    head = np.full((4, 4, 7), -9, np.float32)
    head[2, 2] = [0, 0, 0, 0, 5, 3, 4]
    image = np.zeros((64, 64, 3), np.uint8)
    assert Detector(SPEC, lambda picture: [head]).detect(image).class_id.tolist() == [1]
    assert Detector(SPEC, lambda picture: [head], multi_label=True).detect(image).class_id.tolist() == [1, 0]


def test_no_picture_is_refused() -> None:
    """A grey array is refused by name."""
    with pytest.raises(ValueError, match="expected a uint8 image"):
        Detector(SPEC, square_network).detect(np.zeros((64, 64), np.uint8))
