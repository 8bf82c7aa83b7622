"""Which classes a dataset's labels may have, and what becomes of them: kept, given another name, or left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from board_app.core.errors import UsageError
from board_app.core.road_damage import ROAD_CLASSES, ROAD_LABELS

# What the Japanese part of RDD and its first editions have beside them: Maeda et al., arXiv:1801.09454, table 1
_MORE_LABELS = {
    "D01": "longitudinal construction joint",
    "D11": "transverse construction joint",
    "D50": "manhole",
    "Repair": "patched area",
}
CLASS_LABELS = dict(zip(ROAD_CLASSES, ROAD_LABELS, strict=True)) | _MORE_LABELS


@dataclass(frozen=True)
class ClassMap:
    """The classes as a dataset names them, and what they become.

    Attributes:
        classes: in the order of the dataset's ids.
        becomes: old name -> new name, or None for a class that is left out; what is not named stays.
    """

    classes: tuple[str, ...]
    becomes: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        twice = {name for name in self.classes if self.classes.count(name) > 1}
        if twice:
            raise UsageError(f"expected different class names, found {', '.join(sorted(twice))} twice. Rename one")

    @property
    def kept(self) -> tuple[str, ...]:
        """The new names, each at the place of the first class that becomes it."""
        names = [self.becomes.get(name, name) for name in self.classes]
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def id_of(self, name: str) -> int | None:
        """The index among the kept classes of a class as the labels name it; None for one that is left out.

        Raises:
            KeyError: no such class.
        """
        if name not in self.classes and name not in self.becomes:
            raise KeyError(name)
        new = self.becomes.get(name, name)
        if new is None:
            return None
        if new not in self.kept:
            raise KeyError(name)
        return self.kept.index(new)

    def labels(self, words: Sequence[str]) -> tuple[str, ...]:
        """The kept classes in words, from those of the dataset's classes or what the name means in RDD."""
        known = CLASS_LABELS | dict(zip(self.classes, words, strict=True))
        return tuple(known.get(name, name) for name in self.kept)


def what_becomes(map_classes: Mapping[str, str], ignore: Sequence[str]) -> dict[str, str | None]:
    """One mapping of new names and of classes that are left out, which is what an empty new name says too.

    Raises:
        UsageError: a class is to be renamed and left out.
    """
    both = sorted({old for old, new in map_classes.items() if new} & set(ignore))
    if both:
        raise UsageError(
            f"expected a class either to be mapped or to be ignored, found both for {', '.join(both)}. Leave one out"
        )
    return {old: new or None for old, new in map_classes.items()} | dict.fromkeys(ignore)
