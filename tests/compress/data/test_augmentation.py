"""How pictures vary: against torchvision's own transforms, and boxes against the pixels they stand on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from board_app.core.errors import UsageError
from compress.config import AugmentConfig
from compress.data.augmentation import (
    FlipCare,
    KeepVisible,
    RandomColour,
    RandomWarp,
    boxes_of,
    image_of,
    pixels_of,
    warped,
)

STILL = {"flip": 0, "translate": 0, "scale": 0, "brightness": 0, "contrast": 0, "saturation": 0}
NAMES = ("LEFT", "RIGHT", "SIGN")


class Drawn(np.random.Generator):
    """A generator whose draws are given."""

    def __init__(self, *values: float) -> None:
        super().__init__(np.random.PCG64(0))
        self._values = list(values)

    def random(self, size: int) -> np.ndarray:  # type: ignore[override]
        taken, self._values = self._values[:size], self._values[size:]
        return np.array(taken)


def smooth(size_hw: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A picture whose colours change slowly, far from 0 and 255."""
    noise = np.random.default_rng(seed).integers(60, 180, (4, 4, 3)).astype(np.uint8)
    return v2.functional.resize(torch.from_numpy(noise).permute(2, 0, 1), list(size_hw)).permute(1, 2, 0).numpy()


def with_square(size_hw: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """A white rectangle on black, at the box."""
    pixels = np.zeros((*size_hw, 3), np.uint8)
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2] = 255
    return pixels


def mirror(augment: AugmentConfig, labels: list[int]) -> tuple[bool, list[int]]:
    """Whether RandomWarp mirrors a picture with these classes when it may, and the classes after it."""
    size_hw = (8, 16)
    boxes = boxes_of(np.tile(np.array([1.0, 1.0, 5.0, 5.0]), (len(labels), 1)), size_hw)
    transform = RandomWarp(augment, FlipCare(augment, NAMES), size_hw)
    image = image_of(with_square(size_hw, (0, 0, 4, 4)))
    out, _, after, _ = transform(image, boxes, torch.tensor(labels, dtype=torch.long), Drawn(0.0, 0.5, 0.5, 0.5))
    assert isinstance(out, Tensor) and isinstance(after, Tensor)
    assert torch.equal(out, image) or torch.equal(out, image.flip(-1))
    return not torch.equal(out, image), after.tolist()


@pytest.mark.parametrize("draws", [(1.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 1.0), (0.2, 0.9, 0.1)])
def test_colours_vary_as_torchvision_varies_them(draws: tuple[float, float, float]) -> None:
    """One matrix gives what brightness, contrast and saturation give one after the other, within rounding."""
    augment = AugmentConfig(**(STILL | {"brightness": 0.2, "contrast": 0.4, "saturation": 0.3}))
    pixels = smooth((40, 60))
    image = image_of(pixels)
    brightness, contrast, saturation = (1 + r * (2 * d - 1) for r, d in zip((0.2, 0.4, 0.3), draws, strict=True))
    expected = v2.functional.adjust_brightness(image.as_subclass(Tensor).float() / 255, brightness)
    expected = v2.functional.adjust_contrast(expected, contrast)
    expected = v2.functional.adjust_saturation(expected, saturation) * 255
    found = RandomColour(augment)(image, boxes_of(np.zeros((0, 4)), (40, 60)), torch.zeros(0), Drawn(*draws))[0]
    assert (found.float() - expected).abs().max() < 2.5  # the mean comes from every fourth row


@pytest.mark.parametrize(
    ("gain", "shift", "size_hw"),
    [
        ((1, 1), (0, 0), (32, 48)),
        ((-1, 1), (48, 0), (32, 48)),
        ((2, 2), (0, 0), (64, 96)),
        ((1.5, 1.5), (-9, -3), (32, 48)),
    ],
)
def test_boxes_stay_on_their_pixels(
    gain: tuple[float, float], shift: tuple[float, float], size_hw: tuple[int, int]
) -> None:
    """After any warp the box has the white rectangle's edges within half a pixel; the source is left as it was."""
    box = (12, 8, 24, 20)
    pixels = with_square((32, 48), box)
    before = pixels.copy()
    image, boxes = warped(image_of(pixels), boxes_of(np.array([box]), (32, 48)), gain, shift, size_hw)
    white = np.argwhere(pixels_of(image)[..., 0] > 128)  # the canvas is 128
    found = [*white.min(0)[::-1], *(white.max(0)[::-1] + 1)]
    np.testing.assert_allclose(boxes.numpy()[0], found, atol=0.51)
    np.testing.assert_array_equal(pixels, before)


def test_what_a_warp_uncovers_is_grey() -> None:
    """The canvas is the letterbox's grey."""
    image, _ = warped(image_of(smooth((16, 16))), boxes_of(np.zeros((0, 4)), (16, 16)), (1, 1), (8, 0), (16, 16))
    assert (pixels_of(image)[:, :7] == 128).all()


@pytest.mark.parametrize(
    ("settings", "labels", "flipped", "after"),
    [
        ({}, [0, 2], True, [0, 2]),
        ({}, [], True, []),
        ({"flip_swaps": [("LEFT", "RIGHT")]}, [0, 1, 2, 0], True, [1, 0, 2, 1]),
        ({"flip_never": ["SIGN"]}, [0, 2], False, [0, 2]),
        ({"flip_never": ["SIGN"]}, [0, 1], True, [0, 1]),
        ({"flip_never": ["SIGN"], "flip_swaps": [("LEFT", "RIGHT")]}, [1], True, [0]),
    ],
)
def test_classes_in_the_mirror(settings: dict[str, object], labels: list[int], flipped: bool, after: list[int]) -> None:
    """Left becomes right in a mirror, and a picture with a class that must not be mirrored is left as it is."""
    augment = AugmentConfig.model_validate(STILL | {"flip": 0.5} | settings)
    assert mirror(augment, labels) == (flipped, after)


def test_unknown_classes_in_the_mirror_are_named_at_once() -> None:
    """All misspelt names are told, with the classes of the data."""
    augment = AugmentConfig(flip_swaps=(("LEFT", "RIHGT"),), flip_never=("SING",))
    with pytest.raises(UsageError, match="LEFT, RIGHT, SIGN.*found RIHGT, SING"):
        FlipCare(augment, NAMES)
    with pytest.raises(UsageError, match="every class once, found RIGHT again"):
        FlipCare(AugmentConfig(flip_swaps=(("LEFT", "RIGHT"), ("RIGHT", "SIGN"))), NAMES)


def test_boxes_that_are_cut_too_far_go() -> None:
    """A quarter of the area and three pixels a side must be left; what stays is clipped."""
    boxes = np.array([[-10, 0, 10, 10], [-31, 0, 10, 10], [-5, 40, 15, 60], [38, 0, 50, 10], [5, 5, 7, 30]])
    image = image_of(np.zeros((50, 40, 3), np.uint8))
    _, kept, labels, _ = KeepVisible()(image, boxes_of(boxes, (50, 40)), torch.arange(5), np.random.default_rng(0))
    assert kept.tolist() == [[0, 0, 10, 10], [0, 40, 15, 50]] and labels.tolist() == [0, 2]


def test_no_boxes() -> None:
    """A picture without damage varies as any other."""
    augment, size_hw = AugmentConfig(), (16, 24)
    picture = (image_of(smooth(size_hw)), boxes_of(np.zeros((0, 4)), size_hw), torch.zeros(0, dtype=torch.long))
    chain = v2.Compose([RandomWarp(augment, FlipCare(augment, ()), size_hw), RandomColour(augment), KeepVisible()])
    image, boxes, labels, _ = chain(*picture, np.random.default_rng(3))
    assert image.shape == (3, 16, 24) and boxes.shape == (0, 4) and labels.shape == (0,)
