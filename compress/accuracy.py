"""mAP by the COCO protocol (faster-coco-eval) and F1 at IoU 0.5.

Sources: Lin et al., Microsoft COCO, arXiv:1405.0312 (101-point mAP); the Global Road Damage Detection Challenge
ranks on F1 at IoU 0.5 over all classes together, arXiv:2011.08740.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from board_app.core.boxes import iou
from board_app.core.detections import Detections

MAX_DETECTIONS = 300  # per picture and class; the detector's own limit is usually lower
F1_IOU = 0.5
PROTOCOL = (
    f"COCO 101-point interpolation, maxDets {MAX_DETECTIONS} per image and class, all box sizes, "
    f"classes without truth left out; F1 pooled over the classes at IoU {F1_IOU} at its best confidence threshold"
)


@dataclass(frozen=True)
class Truth:
    """The labelled boxes of one picture.

    Attributes:
        boxes_xyxy: float, shape (N, 4), corners in pixels of the picture.
        class_id: int, shape (N,).
    """

    boxes_xyxy: np.ndarray
    class_id: np.ndarray


@dataclass(frozen=True)
class ClassAccuracy:
    """One class: AP at IoU 0.5, mean AP at IoU 0.5 to 0.95, F1 at the common threshold, number of labelled boxes."""

    ap50: float
    ap50_95: float
    f1: float
    truths: int


@dataclass(frozen=True)
class Accuracy:
    """How well predictions meet truths, all shares of 1.

    Attributes:
        map50: mean over the classes of AP at IoU 0.5; 0 where nothing is labelled.
        map50_95: the same, averaged over IoU 0.50, 0.55 .. 0.95.
        f1: F1 at IoU 0.5 of all classes together, at `f1_confidence`.
        per_class: by class name, classes with labelled boxes only.
        images: number of pictures.
        protocol: how this was counted, in words.
        f1_confidence: the confidence threshold where F1 is best; 0 without any detection.
    """

    map50: float
    map50_95: float
    f1: float
    per_class: dict[str, ClassAccuracy]
    images: int
    protocol: str
    f1_confidence: float = 0.0


def mean_average_precision(
    predictions: Sequence[Detections], truths: Sequence[Truth], class_names: Sequence[str]
) -> Accuracy:
    """Compare the detections of each picture with its labels.

    Args:
        predictions: one per picture, in its pixels, weak ones (confidence from about 0.001) included.
        truths: one per picture, in the same order.
        class_names: names by class_id.
    Raises:
        ValueError: not as many predictions as truths, or a class_id outside class_names.
    """
    if len(predictions) != len(truths):
        raise ValueError(f"expected one prediction per picture, got {len(predictions)} for {len(truths)} pictures")
    classes = len(class_names)
    for class_id in [*(found.class_id for found in predictions), *(truth.class_id for truth in truths)]:
        if len(class_id) and not 0 <= int(class_id.min()) <= int(class_id.max()) < classes:
            raise ValueError(f"class_id must be from 0 to {classes - 1}, got {sorted(set(class_id.tolist()))}")
    labelled = np.zeros(classes, np.int64)
    for truth in truths:
        labelled += np.bincount(np.asarray(truth.class_id, np.int64), minlength=classes)
    present = np.flatnonzero(labelled).tolist()
    if not present:
        return Accuracy(0.0, 0.0, 0.0, {}, len(truths), PROTOCOL)
    average = _coco_average_precision(predictions, truths, classes)  # (10, C)
    threshold, pooled, by_class = _best_f1(predictions, truths, labelled)
    per_class = {
        class_names[c]: ClassAccuracy(
            float(average[0, c]), float(average[:, c].mean()), float(by_class[c]), int(labelled[c])
        )
        for c in present
    }
    return Accuracy(
        map50=float(average[0, present].mean()),
        map50_95=float(average[:, present].mean()),
        f1=pooled,
        per_class=per_class,
        images=len(truths),
        protocol=PROTOCOL,
        f1_confidence=threshold,
    )


def coco_documents(
    predictions: Sequence[Detections], truths: Sequence[Truth], classes: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Truths and predictions as COCO's annotation document and result list; category ids are class_id + 1."""
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id, (found, truth) in enumerate(zip(predictions, truths, strict=True), start=1):
        for xywh, class_id in zip(_xywh(truth.boxes_xyxy), truth.class_id.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": class_id + 1,
                    "bbox": xywh,
                    "area": xywh[2] * xywh[3],
                    "iscrowd": 0,
                }
            )
        for xywh, class_id, score in zip(
            _xywh(found.boxes_xyxy), found.class_id.tolist(), found.confidence.tolist(), strict=True
        ):
            results.append({"image_id": image_id, "category_id": class_id + 1, "bbox": xywh, "score": score})
    images = [{"id": image_id, "height": 1, "width": 1} for image_id in range(1, len(truths) + 1)]
    categories = [{"id": class_id + 1, "name": str(class_id)} for class_id in range(classes)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def _xywh(boxes_xyxy: np.ndarray) -> list[list[float]]:
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    result: list[list[float]] = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
    return result


def _silent(*_: object) -> None:
    """Swallow the evaluator's progress lines."""


def _coco_average_precision(predictions: Sequence[Detections], truths: Sequence[Truth], classes: int) -> np.ndarray:
    """AP by IoU threshold and class, (10, C); -1 for classes without truth."""
    document, results = coco_documents(predictions, truths, classes)
    if not results:
        return np.zeros((10, classes))
    truth = COCO(document, print_function=_silent)
    evaluation = COCOeval_faster(truth, truth.loadRes(results), "bbox", print_function=_silent)
    evaluation.params.maxDets = [MAX_DETECTIONS]
    evaluation.params.areaRng = evaluation.params.areaRng[:1]  # all sizes
    evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, 0]  # (10 IoUs, 101 recalls, C)
    average: np.ndarray = precision.mean(axis=1)
    return average


def _best_f1(
    predictions: Sequence[Detections], truths: Sequence[Truth], labelled: np.ndarray
) -> tuple[float, float, np.ndarray]:
    """The threshold with the best pooled F1, that F1, and F1 per class (C,) at it; ties go to the lowest threshold."""
    hits = [_true_positives(found, truth) for found, truth in zip(predictions, truths, strict=True)]
    confidence = np.concatenate([found.confidence for found in predictions]).astype(np.float64)
    class_id = np.concatenate([found.class_id for found in predictions])
    hit = np.concatenate(hits)
    per_class = np.zeros(len(labelled))
    if not len(confidence):
        return 0.0, 0.0, per_class
    order = np.argsort(-confidence, kind="stable")
    confidence, class_id, hit = confidence[order], class_id[order], hit[order]
    taken = np.arange(1, len(hit) + 1)
    f1 = 2 * np.cumsum(hit) / (taken + labelled.sum())
    ends = np.append(confidence[1:] < confidence[:-1], True)  # a threshold takes all of equal confidence
    f1 = np.where(ends, f1, -1.0)
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    for c in np.flatnonzero(labelled):
        of_class = class_id[: best + 1] == c
        per_class[c] = 2 * hit[: best + 1][of_class].sum() / (of_class.sum() + labelled[c])
    return float(confidence[best]), float(f1[best]), per_class


def _true_positives(found: Detections, truth: Truth) -> np.ndarray:
    """Which detections take a labelled box of their class, strongest first, each box once; bool (N,)."""
    hit = np.zeros(len(found), bool)
    if not len(found) or not len(truth.class_id):
        return hit
    overlap = iou(np.asarray(found.boxes_xyxy, np.float64), np.asarray(truth.boxes_xyxy, np.float64))  # (N, M)
    overlap[found.class_id[:, None] != truth.class_id[None]] = 0
    free = np.ones(len(truth.class_id), bool)
    candidates = np.flatnonzero(overlap.max(axis=1) >= F1_IOU)
    for index in candidates[np.argsort(-found.confidence[candidates], kind="stable")]:
        row = np.where(free, overlap[index], 0)
        best = int(np.argmax(row))
        if row[best] >= F1_IOU:
            free[best] = False
            hit[index] = True
    return hit
