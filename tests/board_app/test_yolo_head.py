"""Head decoding against a plain loop."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from board_app.core.bundle import HeadSpec
from board_app.core.yolo_head import decode_heads, sigmoid

INPUT_HW = (64, 96)
SPECS = [
    HeadSpec("deep", 32, ((40.0, 30.0), (60.0, 50.0)), 2),
    HeadSpec("fine", 16, ((10.0, 12.0), (5.5, 9.25)), 3),
]
OTHER_SPECS = [replace(SPECS[0], scale_xy=1.2), replace(SPECS[1], softmax=True)]  # as of YOLOv4 and YOLOv2
CLASSES = 3


def random_heads(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [(INPUT_HW[0] // s.stride, INPUT_HW[1] // s.stride, len(s.anchors) * (5 + CLASSES)) for s in SPECS]
    return [rng.normal(0, 1.5, shape).astype(np.float32) for shape in shapes]


def plain_loop(
    heads: list[np.ndarray], specs: list[HeadSpec], threshold: float, multi_label: bool
) -> list[tuple[float, ...]]:
    """The published formulas, cell by cell, in double precision: (x1, y1, x2, y2, confidence, class)."""
    found: list[tuple[float, ...]] = []
    for head, spec in zip(heads, specs, strict=True):
        for y in range(head.shape[0]):
            for x in range(head.shape[1]):
                for a, (anchor_w, anchor_h) in enumerate(spec.anchors):
                    t = head[y, x, a * (5 + CLASSES) : (a + 1) * (5 + CLASSES)].astype(float)
                    s = [1 / (1 + math.exp(-v)) for v in t]
                    cx, cy = (
                        (0.5 + spec.scale_xy * (s[k] - 0.5) + cell) * spec.stride for k, cell in enumerate((x, y))
                    )
                    w, h = anchor_w * math.exp(t[2]), anchor_h * math.exp(t[3])
                    if spec.softmax:
                        s[5:] = [math.exp(v) / sum(map(math.exp, t[5:])) for v in t[5:]]
                    scores = [s[4] * score for score in s[5:]]
                    classes = range(CLASSES) if multi_label else [max(range(CLASSES), key=scores.__getitem__)]
                    for c in classes:
                        if scores[c] > threshold:
                            found.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, scores[c], c))
    return found


@pytest.mark.parametrize("threshold", [0.9999, 0.0, 0.01, 0.25, 0.6])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("specs", [SPECS, OTHER_SPECS], ids=["v3", "v4 and v2"])
def test_decoding_equals_the_plain_loop(specs: list[HeadSpec], threshold: float, multi_label: bool) -> None:
    """Every box, confidence and class is that of the formulas written out; none above 0.9999 first."""
    heads = random_heads(5)
    expected = np.array(plain_loop(heads, specs, threshold, multi_label)).reshape(-1, 6)
    found = decode_heads(heads, specs, INPUT_HW, CLASSES, threshold, multi_label)
    assert found.boxes_xyxy.dtype == np.float32 and found.class_id.dtype == np.int32
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes_xyxy, expected[:, :4], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(found.confidence, expected[:, 4], rtol=1e-5)
    np.testing.assert_array_equal(found.class_id, expected[:, 5])


def test_int8_heads_mean_their_values() -> None:
    """Heads as the DPU leaves them give the same detections as their values in float32."""
    rng = np.random.default_rng(2)
    raw = [rng.integers(-128, 128, head.shape).astype(np.int8) for head in random_heads(0)]
    values = [head * np.float32(2.0**-spec.fix_point) for head, spec in zip(raw, SPECS, strict=True)]
    for threshold in (0.01, 0.3):
        a = decode_heads(raw, SPECS, INPUT_HW, CLASSES, threshold)
        b = decode_heads(values, SPECS, INPUT_HW, CLASSES, threshold)
        assert len(a) > 0
        np.testing.assert_array_equal(a.boxes_xyxy, b.boxes_xyxy)
        np.testing.assert_array_equal(a.confidence, b.confidence)


def test_enormous_numbers_stay_finite() -> None:
    """Raw values far outside of any training give finite boxes and no warning."""
    heads = [np.full_like(head, 500.0) for head in random_heads(0)]
    found = decode_heads(heads, SPECS, INPUT_HW, CLASSES, 0.5)
    assert len(found) > 0 and np.isfinite(found.boxes_xyxy).all()
    assert len(decode_heads([-h for h in heads], SPECS, INPUT_HW, CLASSES, 0.0)) == 0
    np.testing.assert_array_equal(sigmoid(np.array([-1e4, 0, 1e4], np.float32)), [0, 0.5, 1])


def test_a_head_of_another_shape_is_named() -> None:
    """A head that does not follow from its spec is named with both shapes."""
    heads = random_heads(0)
    with pytest.raises(ValueError, match=r"'fine'.*found \(4, 6, 15\)"):
        decode_heads([heads[0], heads[1][..., :15]], SPECS, INPUT_HW, CLASSES, 0.5)
    with pytest.raises(ValueError, match="expected 2 heads, found 1"):
        decode_heads(heads[:1], SPECS, INPUT_HW, CLASSES, 0.5)
