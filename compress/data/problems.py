"""What is wrong with a dataset, as a list of places, so that everything can be told at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_app.core.errors import InputError

_TOLD_AT_ONCE = 10
Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Problem:
    """One mistake: the file, the line where there is one, and what was expected, found and should be done.

    Attributes:
        path, line: where it stands.
        message: what was expected, what was found, what to do.
        image_path: the picture that shows it, where there is one.
        box_xyxy: the wrong box in pixels of that picture, where there is one.
        unknown_class: the name that the dataset's classes lack, where that is what is wrong.
        other_image: the picture that `image_path` is too like, where that is what is wrong.
    """

    path: Path
    line: int | None
    message: str
    image_path: Path | None = None
    box_xyxy: Corners | None = None
    unknown_class: str = ""
    other_image: Path | None = None

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else f"{self.path}"
        return f"{where}: {self.message}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: `path`, `line`, `message`, and `image` and `box_xyxy` (null where there are none)."""
        image = None if self.image_path is None else str(self.image_path)
        return {
            "path": str(self.path),
            "line": self.line,
            "message": self.message,
            "image": image,
            "box_xyxy": self.box_xyxy,
        }


@dataclass(frozen=True)
class Complaint:
    """What is wrong with one label, whose place the reader of the file knows."""

    message: str
    box_xyxy: Corners | None = None
    unknown_class: str = ""

    def at(self, path: Path, line: int | None, image_path: Path) -> Problem:
        """The problem in its place."""
        return Problem(path, line, self.message, image_path, self.box_xyxy, self.unknown_class)


def unknown_classes(problems: Sequence[Problem]) -> str:
    """One sentence that names every unknown class and how often it occurs; empty where there is none."""
    counts = Counter(problem.unknown_class for problem in problems if problem.unknown_class)
    if not counts:
        return ""
    listing = ", ".join(f"{name} ({count} boxes)" for name, count in sorted(counts.items()))
    return (
        f"expected no classes but the dataset's, found {listing}. "
        "Map them to its classes (--map OLD=NEW, `map_classes`) or leave them out (--ignore, `ignore_classes`)"
    )


def refuse(problems: Sequence[Problem], folder: Path) -> None:
    """Raise InputError with the first problems, and all unknown classes, if there are any."""
    if not problems:
        return
    lines = [str(problem) for problem in problems[:_TOLD_AT_ONCE]]
    if len(problems) > _TOLD_AT_ONCE:
        more = len(problems) - _TOLD_AT_ONCE
        lines.append(f"... and {more} more. `roadslim data check {folder}` lists all of them")
    unknown = unknown_classes(problems)
    raise InputError("\n".join([*lines, f"{folder}: {unknown}"] if unknown else lines))
