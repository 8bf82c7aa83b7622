"""Datasets: images with labelled boxes, in splits, from YOLO, VOC or COCO folders.

`open_dataset` takes a folder with `dataset.yaml`, or one that is laid out as YOLO, VOC (RDD2022's way too) or COCO.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from board_app.core.atomic_file import sha256_of
from board_app.core.errors import InputError, UsageError
from compress.data.class_map import ClassMap, what_becomes
from compress.data.coco_json import read_coco_split
from compress.data.countries import check_countries, country_of
from compress.data.layout import Layout, find_layout
from compress.data.problems import Problem, refuse
from compress.data.sample import Sample
from compress.data.voc_xml import read_voc_split
from compress.data.yolo_text import read_yolo_split

__all__ = ["Dataset", "Sample", "Wanted", "load_split", "load_splits", "open_dataset", "read_voc", "read_yolo"]

SplitReader = Callable[[Path, Path, ClassMap, list[Problem]], list[Sample]]
_READERS: dict[str, SplitReader] = {"yolo": read_yolo_split, "voc": read_voc_split, "coco": read_coco_split}


@dataclass(frozen=True)
class Dataset:
    """Labelled images of one or more splits.

    Attributes:
        name: of the dataset.
        root: the folder it was read from.
        classes: names in the order of the class ids, as they are mapped, ignored ones left out.
        samples: in the order of the list file, or of the file names.
        labels: the classes in words, for people.
        origin: where the images are from, in words: tables name it beside every accuracy.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    labels: tuple[str, ...] = ()
    origin: str = ""

    def __len__(self) -> int:
        return len(self.samples)

    def fingerprint(self) -> str:
        """SHA-256 over classes, image files, boxes and their order; the folder's own place does not count."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for sample in self.samples:
            digest.update(f"\n{os.path.relpath(sample.image_path, self.root)} {sha256_of(sample.image_path)} ".encode())
            digest.update(sample.boxes_xyxy.astype("<f4").tobytes() + sample.class_id.astype("<i4").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Wanted:
    """What is taken of a dataset.

    Attributes:
        map_classes: old name -> new name; several classes may become one, and an empty new name leaves a class out.
        ignore: classes that are left out; their images stay.
        countries: of RDD, by the names of the pictures (or of the folders, where each country has one); all if empty.
    """

    map_classes: Mapping[str, str] = field(default_factory=dict)
    ignore: Sequence[str] = ()
    countries: Sequence[str] = ()

    def class_map(self, layout: Layout) -> ClassMap:
        """What becomes of the dataset's classes.

        Raises:
            UsageError: it names classes that the dataset does not have, all of them.
        """
        becomes = what_becomes(self.map_classes, self.ignore)
        unknown = sorted(set(becomes) - set(layout.classes))
        if unknown and layout.kind != "voc":  # what a VOC folder does not contain is not in its list of classes
            listing = ", ".join(layout.classes)
            raise UsageError(
                f"{layout.root}: cannot map or ignore {_quoted(unknown)}, found only the classes {listing}. "
                "Mend the names"
            )
        return ClassMap(layout.classes, becomes)


EVERYTHING = Wanted()


def open_dataset(
    path: Path,
    split: str | None = None,
    ignore: Sequence[str] = (),
    map_classes: Mapping[str, str] | None = None,
    countries: Sequence[str] = (),
) -> Dataset:
    """Read one split of a dataset, or all of them together.

    Args:
        path: a dataset folder, or its dataset.yaml.
        split: `train`, `val` or whatever the dataset has; None takes all.
        ignore, map_classes, countries: what is taken of it, as `Wanted` says. The ids of the classes close up.

    Raises:
        InputError: no dataset there, no such split, no images, or anything wrong with images or labels: the first ten
            mistakes with file and line, how many more there are, and every unknown class.
        UsageError: a class to map or ignore, or a country, that the dataset does not have.
    """
    wanted = Wanted(map_classes or {}, ignore, countries)
    layout = find_layout(Path(path), countries)
    if split is not None and split not in layout.splits:
        anew = " --anew" if len(layout.splits) > 1 else ""
        raise InputError(
            f"{path}: expected a split '{split}', found {', '.join(layout.splits) or 'none'}. "
            f"Split it: roadslim data convert {path} NEW_FOLDER --to {layout.kind} --val 20% --by scene{anew}"
        )
    problems: list[Problem] = []
    names = list(layout.splits) if split is None else [split]
    parts = [load_split(layout, name, wanted, problems) for name in names]
    refuse(problems, Path(path))
    samples = tuple(sample for part in parts for sample in part.samples)
    if not samples:
        raise InputError(f"{path}: expected labelled images, found none{f' in {split}' if split else ''}. Add some")
    return replace(parts[0], samples=samples)


def load_splits(path: Path, wanted: Wanted, problems: list[Problem]) -> dict[str, Dataset]:
    """Every split of a dataset as far as it can be read; what is wrong goes to `problems`."""
    layout = find_layout(path, wanted.countries)
    return {name: load_split(layout, name, wanted, problems) for name in layout.splits}


def load_split(layout: Layout, split: str, wanted: Wanted, problems: list[Problem]) -> Dataset:
    """One split as far as it can be read; what is wrong goes to `problems`.

    Raises:
        UsageError: everything that is wanted and that the dataset does not have.
    """
    by_name = wanted.countries and not layout.country_folders
    complaints = []
    try:
        class_map = wanted.class_map(layout)
    except UsageError as error:
        if not by_name:
            raise
        complaints, class_map = [str(error)], EVERYTHING.class_map(layout)  # told together with missing countries
    samples: list[Sample] = []
    found: list[Problem] = []
    for source in layout.splits[split]:
        samples += _READERS[layout.kind](layout.root, source, class_map, found)
    if by_name:
        try:
            check_countries(wanted.countries, [country_of(sample.image_path) for sample in samples], layout.root)
        except UsageError as error:
            complaints.append(str(error))
        samples = [sample for sample in samples if country_of(sample.image_path) in wanted.countries]
        found = [problem for problem in found if country_of(problem.path) in (None, *wanted.countries)]
    if complaints:
        raise UsageError("\n".join(complaints))
    problems += found
    return Dataset(
        name=layout.name,
        root=layout.root,
        classes=class_map.kept,
        samples=tuple(samples),
        labels=class_map.labels(layout.labels),
        origin=layout.origin,
    )


def read_yolo(list_file_or_folder: Path, classes: Sequence[str], ignore: Sequence[str] = ()) -> Dataset:
    """Read a YOLO list file, or a folder of images, with the given class names.

    Raises:
        InputError: as `open_dataset`.
    """
    source = Path(list_file_or_folder)
    return _read("yolo", source if source.is_dir() else source.parent, source, classes, ignore)


def read_voc(folder: Path, classes: Sequence[str], ignore: Sequence[str] = ()) -> Dataset:
    """Read a VOC folder (JPEGImages and Annotations, or RDD2022's images and annotations/xmls).

    Raises:
        InputError: as `open_dataset`; a class that is neither in `classes` nor in `ignore` too.
    """
    return _read("voc", Path(folder), Path(folder), classes, ignore)


def _read(kind: str, root: Path, source: Path, classes: Sequence[str], ignore: Sequence[str]) -> Dataset:
    problems: list[Problem] = []
    class_map = ClassMap(tuple(classes), what_becomes({}, ignore))
    samples = _READERS[kind](root, source, class_map, problems)
    refuse(problems, root)
    if not samples:
        raise InputError(f"{source}: expected labelled images, found none. Add some, or name another folder")
    name = root.resolve().name
    return Dataset(name, root, class_map.kept, tuple(samples), class_map.labels(classes), name)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
