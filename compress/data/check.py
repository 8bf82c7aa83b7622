"""What is in a dataset and what is wrong with it, all of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.data.class_counts import box_counts
from compress.data.dataset import EVERYTHING, Dataset, Wanted, load_split
from compress.data.layout import Layout, find_layout
from compress.data.near_duplicates import shared_places
from compress.data.picture_check import check_pictures, picture_problems
from compress.data.problems import Problem
from compress.data.stray_labels import stray_labels

_SMALL_AREA_PX = 32 * 32  # COCO's bound of a small object


@dataclass(frozen=True)
class SplitSummary:
    """One split in figures; pictures' sides in pixels, smallest and largest."""

    images: int
    images_without_boxes: int
    boxes: int
    height_px: tuple[int, int]
    width_px: tuple[int, int]


@dataclass(frozen=True)
class ClassSummary:
    """One class in figures; sides of its boxes in pixels (smallest, median, largest), None where it has no box."""

    name: str
    label: str
    boxes: dict[str, int]
    width_px: tuple[float, float, float] | None
    height_px: tuple[float, float, float] | None
    small_share: float | None


@dataclass(frozen=True)
class DatasetReport:
    """Everything that `roadslim data check` tells."""

    name: str
    root: Path
    kind: str
    origin: str
    splits: dict[str, SplitSummary]
    classes: tuple[ClassSummary, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    datasets: dict[str, Dataset]

    def as_dict(self) -> dict[str, Any]:
        """The JSON document without version fields."""
        return {
            "dataset": self.name,
            "folder": str(self.root),
            "format": self.kind,
            "origin": self.origin,
            "ok": not self.problems,
            "splits": {name: asdict(split) for name, split in self.splits.items()},
            "classes": [asdict(summary) for summary in self.classes],
            "problems": [problem.as_dict() for problem in self.problems],
            "warnings": [warning.as_dict() for warning in self.warnings],
        }


def check_dataset(path: Path, wanted: Wanted = EVERYTHING, near_duplicates: bool = False) -> DatasetReport:
    """Read every label and decode every image of every split.

    Args:
        path: the dataset.
        wanted: what is taken of it.
        near_duplicates: whether to look for frames of one place in two splits too, which takes longer than the rest.
    Raises:
        InputError: there is no dataset at `path`.
        UsageError: a class or a country in `wanted` that the dataset does not have.
    """
    layout = find_layout(path, wanted.countries)
    problems: list[Problem] = []
    datasets = {split: load_split(layout, split, wanted, problems) for split in layout.splits}
    for split, part in datasets.items():
        if not part.samples:
            problems.append(Problem(layout.splits[split][0], None, "expected labelled images, found none. Add some"))
    problems += stray_labels(layout)
    problems += _classes_never_seen(layout, datasets, training=True)
    warnings = _classes_never_seen(layout, datasets, training=False)
    pictures = check_pictures(datasets)
    if near_duplicates:
        readable = [picture for picture in pictures if not picture.complaint]
        warnings += shared_places([picture.path for picture in readable], [picture.split for picture in readable])
    return DatasetReport(
        name=layout.name,
        root=layout.root,
        kind=layout.kind,
        origin=layout.origin,
        splits={split: _split_summary(part) for split, part in datasets.items()},
        classes=_class_summaries(datasets),
        problems=tuple(_once([*problems, *picture_problems(pictures)])),
        warnings=tuple(warnings),
        datasets=datasets,
    )


def _once(problems: Iterable[Problem]) -> list[Problem]:
    """Without repetitions: an image of two splits has the same mistakes twice."""
    return list(dict.fromkeys(problems))


def _classes_never_seen(layout: Layout, datasets: Mapping[str, Dataset], training: bool) -> list[Problem]:
    """One problem for the training split, or for each other one, that lacks classes which the dataset names.

    In training such a class cannot be learnt, and a training refuses it; elsewhere it is only not measured.
    """
    problems = []
    for split, part in datasets.items():
        is_training = split == "train" or len(datasets) == 1
        never = [name for name, count in zip(part.classes, box_counts(part), strict=True) if not count]
        if never and part.samples and is_training == training:
            message = (
                f"expected boxes of every class in {split}, found none of {', '.join(never)}. "
                "Split again (`data convert --anew`), or map (--map) or leave out (--ignore) the classes"
            )
            problems.append(Problem(layout.splits[split][0], None, message))
    return problems


def _split_summary(part: Dataset) -> SplitSummary:
    sizes = np.array([sample.size_hw for sample in part.samples] or [(0, 0)])
    low, high = sizes.min(0), sizes.max(0)
    return SplitSummary(
        images=len(part.samples),
        images_without_boxes=sum(len(sample.class_id) == 0 for sample in part.samples),
        boxes=sum(len(sample.class_id) for sample in part.samples),
        height_px=(int(low[0]), int(high[0])),
        width_px=(int(low[1]), int(high[1])),
    )


def _class_summaries(datasets: Mapping[str, Dataset]) -> tuple[ClassSummary, ...]:
    first = next(iter(datasets.values()))
    samples = [sample for part in datasets.values() for sample in part.samples]
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(sample.boxes_xyxy for sample in samples)])
    ids = np.concatenate([np.zeros(0, np.int32), *(sample.class_id for sample in samples)])
    summaries = []
    for index, (name, label) in enumerate(zip(first.classes, first.labels, strict=True)):
        sides = (boxes[:, 2:] - boxes[:, :2])[ids == index]  # (n, 2) width, height
        counts = {
            split: int(sum(np.count_nonzero(sample.class_id == index) for sample in part.samples))
            for split, part in datasets.items()
        }
        small = float(np.mean(sides.prod(1) < _SMALL_AREA_PX)) if len(sides) else None
        summaries.append(ClassSummary(name, label, counts, _range(sides[:, 0]), _range(sides[:, 1]), small))
    return tuple(summaries)


def _range(sides: np.ndarray) -> tuple[float, float, float] | None:
    if not len(sides):
        return None
    return round(float(sides.min()), 1), round(float(np.median(sides)), 1), round(float(sides.max()), 1)
