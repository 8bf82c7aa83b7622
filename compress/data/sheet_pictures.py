"""Which pictures of a dataset a person should look at: what is wrong first, then the extremes, then any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.data.dataset import Dataset, Sample
from compress.data.problems import Corners, Problem

_PAIRS, _WRONG, _EXTREMES, _ANY = 6, 12, 6, 12  # of each kind at most; an extreme of each kind takes a third of them
_SEED = 0  # of the random pictures: the same sheet for the same dataset


@dataclass(frozen=True)
class Shown:
    """One picture on the sheet.

    Attributes:
        image_path: of the picture.
        caption: why it is shown.
        boxes: its labelled boxes in pixels, each with its class and id.
        wrong: boxes that are none.
        close: the part to show, in pixels; None shows all.
        alarming: whether something is wrong.
    """

    image_path: Path
    caption: str
    boxes: tuple[tuple[Corners, str, int], ...] = ()
    wrong: tuple[Corners, ...] = ()
    close: Corners | None = None
    alarming: bool = False


def pictures_to_look_at(datasets: Mapping[str, Dataset], problems: Sequence[Problem]) -> list[Shown]:
    """Pairs of pictures that are too like each other, side by side; wrong ones; extreme boxes; a random sample."""
    labelled = [_Labelled(split, part, sample) for split, part in datasets.items() for sample in part.samples]
    by_path = {one.sample.image_path: one for one in labelled}
    return [
        *_pairs(problems, by_path),
        *_wrong(problems, by_path),
        *_extremes(labelled),
        *_any(labelled),
    ]


@dataclass(frozen=True)
class _Labelled:
    split: str
    part: Dataset
    sample: Sample

    def shown(self, why: str = "", **more: object) -> Shown:
        boxes = tuple(
            (_corners(box), self.part.classes[index], int(index))
            for box, index in zip(self.sample.boxes_xyxy, self.sample.class_id, strict=True)
        )
        caption = f"{why}{': ' if why else ''}{self.split} {self.sample.image_path.name}"
        return Shown(self.sample.image_path, caption, boxes, **more)  # type: ignore[arg-type]


def _corners(box: Iterable[float]) -> Corners:
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2


def _pairs(problems: Sequence[Problem], by_path: Mapping[Path, _Labelled]) -> list[Shown]:
    pairs = [problem for problem in problems if problem.image_path in by_path and problem.other_image in by_path]
    shown = []
    for problem in pairs[:_PAIRS]:
        for path in (problem.image_path, problem.other_image):
            assert path is not None
            shown.append(by_path[path].shown("alike", alarming=True))
    return shown


def _wrong(problems: Sequence[Problem], by_path: Mapping[Path, _Labelled]) -> list[Shown]:
    boxes: dict[Path, list[Corners]] = {}
    for problem in problems:
        if problem.image_path is not None and problem.other_image is None:
            boxes.setdefault(problem.image_path, []).extend([problem.box_xyxy] if problem.box_xyxy else [])
    shown = []
    for path, wrong in list(boxes.items())[:_WRONG]:
        if path in by_path:
            shown.append(by_path[path].shown("wrong", wrong=tuple(wrong), alarming=True))
        else:
            shown.append(Shown(path, f"wrong: {path.name}", wrong=tuple(wrong), alarming=True))
    return shown


def _extremes(labelled: Sequence[_Labelled]) -> list[Shown]:
    """The smallest boxes (close by), the largest and the longest for their width or height."""
    places = [(one, index) for one in labelled for index in range(len(one.sample.class_id))]
    if not places:
        return []
    boxes = np.array([one.sample.boxes_xyxy[index] for one, index in places], np.float64)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)  # (N, 2)
    areas, aspects = sides.prod(1), np.abs(np.log(sides[:, 0] / sides[:, 1]))
    shown = []
    for why, order in (
        ("smallest", np.argsort(areas)),
        ("largest", np.argsort(-areas)),
        ("oddest", np.argsort(-aspects)),
    ):
        for position in order[: _EXTREMES // 3]:
            one, _ = places[position]
            width, height = sides[position]
            close = _around(boxes[position]) if why == "smallest" else None
            shown.append(one.shown(f"{why} {width:.0f}x{height:.0f} px", close=close))
    return shown


def _around(box: np.ndarray) -> Corners:
    """A square round the box that shows where it is: eight times its longer side, 96 pixels at least."""
    half = max(4 * float((box[2:] - box[:2]).max()), 48.0)
    x, y = (box[:2] + box[2:]) / 2
    return float(x - half), float(y - half), float(x + half), float(y + half)


def _any(labelled: Sequence[_Labelled]) -> list[Shown]:
    chosen = np.random.default_rng(_SEED).permutation(len(labelled))[:_ANY]
    return [labelled[index].shown() for index in sorted(chosen)]
