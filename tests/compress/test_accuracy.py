"""mAP against pycocotools, F1 against a plain count."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from board_app.core.boxes import iou
from board_app.core.detections import Detections
from compress.accuracy import MAX_DETECTIONS, Accuracy, Truth, coco_documents, mean_average_precision

CLASSES = ("D00", "D10", "D20", "D40")


def _detections(rows: list[tuple[float, float, float, float, float, int]]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int32))


def _truth(rows: list[tuple[float, float, float, float, int]]) -> Truth:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Truth(table[:, :4], table[:, 4].astype(np.int32))


def _random_case(seed: int, images: int = 12, classes: int = 4, stray: int = 6) -> tuple[list[Detections], list[Truth]]:
    random = np.random.default_rng(seed)
    predictions, truths = [], []
    for _ in range(images):
        count = int(random.integers(0, 8))
        corner = random.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corner, corner + random.uniform(4, 150, (count, 2))], axis=1)
        class_id = random.integers(0, classes, count)
        truths.append(Truth(boxes.astype(np.float32), class_id.astype(np.int32)))
        repeats = random.integers(0, 3, count)
        near = np.repeat(boxes, repeats, axis=0)
        near = near + random.normal(0, 8, near.shape)
        far = random.uniform(0, 300, (int(random.integers(0, stray)), 2))
        far = np.concatenate([far, far + random.uniform(4, 150, far.shape)], axis=1)
        found = np.concatenate([near, far])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        labels = np.concatenate([np.repeat(class_id, repeats), random.integers(0, classes, len(far))])
        confidence = random.integers(1, 30, len(found)) / 30  # with ties
        predictions.append(Detections(found.astype(np.float32), confidence.astype(np.float32), labels.astype(np.int32)))
    return predictions, truths


def _pycocotools(predictions: list[Detections], truths: list[Truth], classes: int) -> tuple[float, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    document, results = coco_documents(predictions, truths, classes)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"info": {}, **document}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.maxDets = [1, 10, MAX_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    kept = precision[:, :, precision[0, 0] > -1]
    return float(kept[0].mean()), float(kept.mean())


@pytest.mark.parametrize("seed", range(8))
def test_equals_pycocotools_on_random_pictures(seed: int) -> None:
    """mAP50 and mAP50-95 are pycocotools' to 1e-6, ties in confidence and empty pictures included."""
    predictions, truths = _random_case(seed)
    ours = mean_average_precision(predictions, truths, CLASSES)
    assert (ours.map50, ours.map50_95) == pytest.approx(_pycocotools(predictions, truths, 4), abs=1e-6)


def test_equals_pycocotools_beyond_a_hundred_detections() -> None:
    """Crowded pictures are cut at the stated number of detections and not at COCO's customary hundred."""
    predictions, truths = _random_case(3, images=2, classes=1, stray=500)
    ours = mean_average_precision(predictions, truths, CLASSES[:1])
    assert max(map(len, predictions)) > 150
    assert (ours.map50, ours.map50_95) == pytest.approx(_pycocotools(predictions, truths, 1), abs=1e-6)


BOX = (10.0, 10.0, 50.0, 50.0)
HAND_MADE = {
    "exact": ([[(*BOX, 0.9, 0)]], [[(*BOX, 0)]], 1.0, 1.0, 1.0),
    "wrong class": ([[(*BOX, 0.9, 1)]], [[(*BOX, 0)]], 0.0, 0.0, 0.0),
    "found twice": ([[(*BOX, 0.9, 0), (*BOX, 0.8, 0)]], [[(*BOX, 0)]], 1.0, 1.0, 1.0),
    "stronger stray first": ([[(60, 60, 90, 90, 0.95, 0), (*BOX, 0.9, 0)]], [[(*BOX, 0)]], 0.5, 0.5, 2 / 3),
    "one of two": ([[(*BOX, 0.9, 0)], []], [[(*BOX, 0)], [(*BOX, 0)]], 51 / 101, 51 / 101, 2 / 3),
    "IoU 0.7": ([[(10, 10, 50, 38, 0.9, 0)]], [[(*BOX, 0)]], 1.0, 0.5, 1.0),  # right at 0.50, .55, .60, .65, .70
    "class without truth": ([[(*BOX, 0.9, 0), (*BOX, 0.9, 2)]], [[(*BOX, 0)]], 1.0, 1.0, 2 / 3),
}


@pytest.mark.parametrize("case", HAND_MADE)
def test_hand_made_cases(case: str) -> None:
    """Cases that can be counted by hand give the counted value, and pycocotools'."""
    found, labelled, map50, map50_95, f1 = HAND_MADE[case]
    predictions, truths = [_detections(rows) for rows in found], [_truth(rows) for rows in labelled]
    ours = mean_average_precision(predictions, truths, CLASSES)
    assert (ours.map50, ours.map50_95, ours.f1) == pytest.approx((map50, map50_95, f1), abs=1e-6)
    assert (ours.map50, ours.map50_95) == pytest.approx(_pycocotools(predictions, truths, 4), abs=1e-6)


def test_nothing_found() -> None:
    """Without any detection everything is 0 and the labelled classes are still listed."""
    ours = mean_average_precision([Detections.empty()] * 2, [_truth([(*BOX, 1)]), _truth([])], CLASSES)
    assert (ours.map50, ours.map50_95, ours.f1, ours.images) == (0, 0, 0, 2)
    assert ours.per_class["D10"].truths == 1 and list(ours.per_class) == ["D10"]


@pytest.mark.parametrize("predictions", [[], [Detections.empty()], [_detections([(*BOX, 0.5, 0)])]])
def test_nothing_labelled(predictions: list[Detections]) -> None:
    """Without any label there is no class to count and everything is 0."""
    ours = mean_average_precision(predictions, [_truth([])] * len(predictions), CLASSES)
    assert (ours.map50, ours.map50_95, ours.f1, ours.per_class) == (0, 0, 0, {})


def test_classes_average_to_the_whole() -> None:
    """The per-class values, over labelled classes only, average to mAP."""
    predictions, truths = _random_case(11, classes=3)
    ours = mean_average_precision(predictions, truths, CLASSES)
    assert set(ours.per_class) == set(CLASSES[:3])
    assert ours.map50 == pytest.approx(np.mean([entry.ap50 for entry in ours.per_class.values()]))
    assert ours.map50_95 == pytest.approx(np.mean([entry.ap50_95 for entry in ours.per_class.values()]))
    assert sum(entry.truths for entry in ours.per_class.values()) == sum(len(truth.class_id) for truth in truths)


def _plain_f1(predictions: list[Detections], truths: list[Truth], threshold: float) -> float:
    right = found_count = 0
    for found, truth in zip(predictions, truths, strict=True):
        left = list(range(len(truth.class_id)))
        for index in sorted(range(len(found)), key=lambda i: -found.confidence[i]):
            if found.confidence[index] < threshold:
                continue
            found_count += 1
            overlaps = {
                j: iou(found.boxes_xyxy[None, index], truth.boxes_xyxy[None, j])[0, 0]
                for j in left
                if truth.class_id[j] == found.class_id[index]
            }
            best = max(overlaps, key=lambda j: overlaps[j], default=None)
            if best is not None and overlaps[best] >= 0.5:
                left.remove(best)
                right += 1
    return 2 * right / (found_count + sum(len(truth.class_id) for truth in truths))


@pytest.mark.parametrize("seed", range(4))
def test_f1_is_the_best_of_all_thresholds(seed: int) -> None:
    """F1 equals a plain count at its threshold, and no other threshold gives more."""
    predictions, truths = _random_case(seed + 40)
    ours: Accuracy = mean_average_precision(predictions, truths, CLASSES)
    thresholds = np.unique(np.concatenate([found.confidence for found in predictions]))
    assert ours.f1 == pytest.approx(_plain_f1(predictions, truths, ours.f1_confidence))
    assert ours.f1 == pytest.approx(max(_plain_f1(predictions, truths, float(t)) for t in thresholds))


def test_says_how_it_counted(capfd: pytest.CaptureFixture[str]) -> None:
    """The protocol names the interpolation and the limit, and the evaluator prints nothing."""
    ours = mean_average_precision([_detections([(*BOX, 0.9, 0)])], [_truth([(*BOX, 0)])], CLASSES)
    assert "101-point" in ours.protocol and str(MAX_DETECTIONS) in ours.protocol
    assert capfd.readouterr() == ("", "")


def test_refuses_what_does_not_belong_together() -> None:
    """Unequal numbers of pictures and unknown classes are errors of the caller."""
    with pytest.raises(ValueError, match="one prediction per picture"):
        mean_average_precision([Detections.empty()], [], CLASSES)
    with pytest.raises(ValueError, match="class_id"):
        mean_average_precision([_detections([(*BOX, 0.5, 9)])], [_truth([])], CLASSES)
