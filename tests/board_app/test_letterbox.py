"""Letterboxing: what the picture looks like, and boxes there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_app.core.letterbox import LetterboxTransform, letterbox

SIDES = st.integers(1, 2000)
NETWORK = st.sampled_from([(320, 320), (608, 608), (256, 416), (416, 256)])


def test_no_boxes() -> None:
    """No boxes map to no boxes of the right shape and type."""
    transform = LetterboxTransform.fit((480, 640), (416, 416))
    for mapped in (transform.to_network(np.zeros((0, 4))), transform.to_source(np.zeros((0, 4)))):
        assert mapped.shape == (0, 4) and mapped.dtype == np.float32


@pytest.mark.parametrize(
    ("source_hw", "size_hw", "pads", "resized_hw"),
    [
        ((480, 640), (416, 416), (0, 52), (312, 416)),
        ((640, 480), (416, 416), (52, 0), (416, 312)),
        ((100, 100), (416, 416), (0, 0), (416, 416)),
        ((720, 1280), (608, 608), (0, 133), (342, 608)),
        ((1, 2000), (64, 64), (0, 31), (1, 64)),
    ],
)
def test_geometry(
    source_hw: tuple[int, int], size_hw: tuple[int, int], pads: tuple[int, int], resized_hw: tuple[int, int]
) -> None:
    """The picture keeps its aspect ratio, is centred, and grey 128 lies around it."""
    image = np.full((*source_hw, 3), 7, np.uint8)
    boxed, transform = letterbox(image, size_hw)
    assert (transform.pad_left, transform.pad_top) == pads
    assert transform.resized_hw == resized_hw
    assert transform.source_hw == source_hw
    inside = np.zeros(size_hw, bool)
    inside[pads[1] : pads[1] + resized_hw[0], pads[0] : pads[0] + resized_hw[1]] = True
    assert (boxed[inside] == 7).all() and (boxed[~inside] == 128).all()


@settings(max_examples=200, deadline=None)
@given(height=SIDES, width=SIDES, size_hw=NETWORK, corners=st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_boxes_return(height: int, width: int, size_hw: tuple[int, int], corners: list[float]) -> None:
    """A box mapped into the network and back is the same box, and inside the picture it stays inside."""
    transform = LetterboxTransform.fit((height, width), size_hw)
    box = np.array([corners], np.float32) * np.array([width, height, width, height], np.float32)
    mapped = transform.to_network(box)
    # A whole picture may be one network pixel high: float32 of the network's pixels then counts more in the source's.
    tolerance = 1e-4 * max(size_hw) * max(height / transform.resized_hw[0], width / transform.resized_hw[1])
    np.testing.assert_allclose(transform.to_source(mapped), box, atol=tolerance)
    left, top = transform.pad_left, transform.pad_top
    assert (mapped >= np.array([left, top, left, top]) - 1e-3).all()
    right, bottom = left + transform.resized_hw[1], top + transform.resized_hw[0]
    assert (mapped <= np.array([right, bottom, right, bottom]) + 1e-3).all()


def test_a_mark_lands_where_its_box_lands() -> None:
    """A bright rectangle in the source lies, after letterboxing, inside the mapped box."""
    image = np.zeros((427, 640, 3), np.uint8)
    image[100:200, 500:640] = 255
    boxed, transform = letterbox(image, (256, 256))
    bright = np.argwhere((boxed > 200).all(2))
    low, high = bright.min(0), bright.max(0) + 1
    expected = transform.to_network(np.array([[500, 100, 640, 200]], np.float32))[0]
    np.testing.assert_allclose([low[1], low[0], high[1], high[0]], expected, atol=1.0)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
    ],
)
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    """Empty, grey, four-channel and float arrays are named in the error."""
    with pytest.raises(ValueError, match="expected a uint8 image"):
        letterbox(image, (416, 416))
