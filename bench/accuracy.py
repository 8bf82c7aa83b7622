"""Accuracy of a model on a dataset, through any backend, with the very detector that ships to the board."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.backends.base import Session
from bench.models import Model
from bench.results import AccuracyRecord, ClassRecord
from board_app.core.detector import Detector
from board_app.core.errors import InputError
from compress.accuracy import PROTOCOL, Truth, mean_average_precision
from compress.training.loader import read_image

if TYPE_CHECKING:
    from compress.data.dataset import Dataset

HELD_OUT = ("test", "val")  # a dataset's splits that no training has seen, the better first

CONFIDENCE_FLOOR = 0.001  # mAP needs the weak detections too
MAX_DETECTIONS = 300  # a picture, all classes


def held_out_split(path: Path) -> str | None:
    """The dataset's test split, else its val split, else None: all of it."""
    from compress.data.layout import find_layout

    splits = find_layout(path).splits
    return next((split for split in HELD_OUT if split in splits), None)


def protocol_of(model: Model) -> str:
    """How accuracy is counted, in words."""
    height, width = model.spec.input_hw
    return (
        f"{PROTOCOL}; detections with confidence above {CONFIDENCE_FLOOR}, one class per box; class-wise NMS at IoU "
        f"{model.spec.iou_threshold:g}, at most {MAX_DETECTIONS} per image; letterboxed to {height}x{width}, "
        "compared in source pixels"
    )


def evaluate(
    model: Model,
    session: Session,
    dataset: Dataset,
    split: str | None = None,
    workers: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> AccuracyRecord:
    """Detect on every picture of the dataset and compare with its labels.

    Args:
        model: whose spec decodes; its classes must be the dataset's.
        session: that runs the network.
        split: which part of the dataset this is, for the record.
        workers: pictures in work at the same time, each in a thread.
        progress: called with the number of pictures done.
    Raises:
        InputError: an unreadable picture, no picture or no label at all, or other classes than the model's.
    """
    model = model.with_classes(dataset.classes, dataset.name)
    spec = replace(model.spec, max_detections=MAX_DETECTIONS)
    detector = Detector(spec, session.forward, confidence_threshold=CONFIDENCE_FLOOR)
    if not sum(len(sample.class_id) for sample in dataset.samples):
        raise InputError(
            f"{dataset.name}: expected labelled boxes to compare with, found none in {len(dataset.samples)} pictures. "
            "Choose another split or dataset; `roadslim data check DATASET` shows what it has."
        )
    predictions = []
    with ThreadPoolExecutor(workers) as pool:
        found_in_order = pool.map(lambda sample: detector.detect(read_image(sample)), dataset.samples)
        for done, found in enumerate(found_in_order, start=1):
            predictions.append(found)
            progress(done)
    truths = [Truth(sample.boxes_xyxy, sample.class_id) for sample in dataset.samples]
    accuracy = mean_average_precision(predictions, truths, dataset.classes)
    return AccuracyRecord(
        map50=accuracy.map50,
        map50_95=accuracy.map50_95,
        f1=accuracy.f1,
        f1_confidence=accuracy.f1_confidence,
        per_class={name: ClassRecord(**asdict(found)) for name, found in accuracy.per_class.items()},
        images=accuracy.images,
        protocol=protocol_of(model),
        dataset=dataset.name,
        split=split,
        dataset_sha256=dataset.fingerprint(),
        data=dataset.origin,
    )
