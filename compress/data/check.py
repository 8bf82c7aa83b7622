"""What is in a dataset and what is wrong with it, all of it at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.data.dataset import EVERYTHING, Dataset, Wanted, load_split
from compress.data.image_size import NoImageError, decode_image
from compress.data.layout import find_layout
from compress.data.problems import Problem
from compress.data.progress import tracked

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
        }


def check_dataset(path: Path, wanted: Wanted = EVERYTHING) -> DatasetReport:
    """Read every label and decode every image of every split.

    Raises:
        InputError: there is no dataset at `path`.
        UsageError: an ignored class that the dataset does not have.
    """
    layout = find_layout(path, wanted.countries)
    problems: list[Problem] = []
    datasets = {split: load_split(layout, split, wanted, problems) for split in layout.splits}
    for split, part in datasets.items():
        if not part.samples:
            problems.append(Problem(layout.splits[split][0], None, "expected labelled images, found none. Add some"))
    problems += _image_problems(datasets)
    return DatasetReport(
        name=layout.name,
        root=layout.root,
        kind=layout.kind,
        origin=layout.origin,
        splits={split: _split_summary(part) for split, part in datasets.items()},
        classes=_class_summaries(datasets),
        problems=tuple(_once(problems)),
        datasets=datasets,
    )


def _once(problems: Iterable[Problem]) -> list[Problem]:
    """Without repetitions: an image of two splits has the same mistakes twice."""
    return list(dict.fromkeys(problems))


def _image_problems(datasets: Mapping[str, Dataset]) -> list[Problem]:
    """Images that do not decode, and the same picture in two splits."""
    paths = [(split, sample.image_path) for split, part in datasets.items() for sample in part.samples]
    problems: list[Problem] = []
    first: dict[str, tuple[str, Path]] = {}
    with ThreadPoolExecutor(2) as pool:  # OpenCV decodes outside the interpreter's lock
        checked = pool.map(_decoded, (path for _, path in paths))
        for (split, path), (digest, complaint) in zip(paths, tracked(checked, len(paths), "images"), strict=True):
            if complaint:
                problems.append(Problem(path, None, complaint))
                continue
            other_split, other = first.setdefault(digest, (split, path))
            if other_split != split:
                message = (
                    f"expected every picture in one split, found it in {split} and, as {other}, in {other_split}. "
                    "Remove one: accuracy on pictures seen in training says nothing"
                )
                problems.append(Problem(path, None, message))
    return problems


def _decoded(path: Path) -> tuple[str, str]:
    """The file's SHA-256, and what is wrong with the picture or an empty text."""
    try:
        decode_image(path)
    except NoImageError as error:
        return "", f"expected an image, found {error}. Replace or remove it"
    content = path.read_bytes()
    # inside coded pixels every FF is escaped, so a whole JPEG has an end marker after its last start of scan
    if content[:2] == b"\xff\xd8" and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        return "", f"expected a whole JPEG, found one cut off after {len(content)} bytes. Copy it again"
    return hashlib.sha256(content).hexdigest(), ""


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
