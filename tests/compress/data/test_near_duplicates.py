"""Pictures that are the same, or of the same place."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from compress.data.near_duplicates import picture_print, same_pictures


def cloudy(seed: int) -> np.ndarray:
    """A picture of soft shapes, 160 x 200."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(128, 700, (160, 200, 3)), (0, 0), 8)
    return np.clip(noise, 0, 255).astype(np.uint8)


def saved_anew(picture: np.ndarray, scale: float, quality: int) -> np.ndarray:
    """Resized and through JPEG."""
    resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", resized, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


@pytest.mark.parametrize(("scale", "quality"), [(1, 95), (1, 20), (0.5, 60), (2, 90)])
def test_the_same_picture_is_found(scale: float, quality: int) -> None:
    """However it was saved, and only in another split."""
    pictures = [cloudy(0), cloudy(1), saved_anew(cloudy(1), scale, quality), saved_anew(cloudy(0), scale, quality)]
    prints = [picture_print(picture) for picture in pictures]
    assert same_pictures(prints, ["train", "train", "val", "train"]) == [(1, 2)]
    assert same_pictures(prints, ["train", "val", "train", "val"]) == [(0, 3), (1, 2)]


def test_brighter_is_another_picture() -> None:
    """The bits are the same, the copies are not; nothing at all has no pairs."""
    one = cloudy(0) // 2 + 40
    assert same_pictures([picture_print(one), picture_print(one + 4)], ["train", "val"]) == []
    assert same_pictures([], []) == []


def test_real_frames_of_one_street_are_no_copies(shared_data: Path) -> None:
    """Among 300 frames of few streets none is taken for another, and each is found when saved anew."""
    paths = sorted((shared_data / "rdd2022-cmb-mini/images").glob("*.jpg"))[:300]
    pictures = [cv2.imread(str(path)) for path in paths]
    prints = [picture_print(picture) for picture in pictures]
    assert same_pictures(prints, [str(path) for path in paths]) == []
    again = [picture_print(saved_anew(picture, 0.6, 40)) for picture in pictures[:50]]
    assert same_pictures([*prints, *again], ["a"] * 300 + ["b"] * 50) == [(index, 300 + index) for index in range(50)]
