"""Where a dataset keeps its classes, splits and labels: from its `dataset.yaml`, or found by looking at the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from board_app.core.errors import InputError
from compress.config_complaints import kind_of
from compress.data.class_map import CLASS_LABELS
from compress.data.coco_json import coco_class_names, split_name
from compress.data.countries import check_countries
from compress.data.image_size import IMAGE_SUFFIXES
from compress.data.voc_xml import annotation_folder, voc_class_names, voc_images

DATASET_FILE = "dataset.yaml"
Kind = Literal["yolo", "voc", "coco"]
CLASS_FILES = ("classes.txt", "obj.names", "classes.names")
_SPLIT_NAMES = ("train", "val", "test")
_KEYS = {"name", "format", "classes", "labels", "origin", "splits", "parameters"}


@dataclass(frozen=True)
class Layout:
    """A dataset's plan, before any label is read.

    Attributes:
        root: the folder that paths are relative to.
        kind: how labels are written.
        classes: in the order of the class ids.
        labels: the same classes in words, for people.
        origin: where the images are from, in words.
        splits: name -> list files, folders or annotation files; several where each country has its own.
        parameters: what made it, where a program did.
        name: of the dataset.
        country_folders: each country has folders of its own, and only the wanted ones are in `splits`.
    """

    root: Path
    kind: Kind
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    origin: str
    splits: dict[str, tuple[Path, ...]]
    parameters: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    country_folders: bool = False


def find_layout(path: Path, countries: Sequence[str] = ()) -> Layout:
    """How the dataset at `path` (a folder or its dataset.yaml) is laid out.

    Of a folder with a folder for each country only the wanted `countries` count, for their classes too; all if empty.

    Raises:
        InputError: nothing is there, or nothing that looks like a dataset.
        UsageError: a wanted country has no folder where others have.
    """
    if path.is_file() and path.suffix in (".yaml", ".yml"):
        return _from_yaml(path)
    if not path.is_dir():
        there = "a file" if path.exists() else "none"
        raise InputError(
            f"expected a dataset folder at {path}, found {there}. Check the path, or make one: roadslim data scenes DIR"
        )
    if (path / DATASET_FILE).is_file():
        return _from_yaml(path / DATASET_FILE)
    found = _bare_yolo(path) or _bare_voc(path) or _bare_coco(path) or _rdd_countries(path, countries)
    if found is None:
        raise InputError(
            f"{path}: expected dataset.yaml, or YOLO (classes.txt, images/, labels/), VOC (Annotations/ or "
            "annotations/xmls/) or COCO (annotations/*.json) labels, found none. Name the folder that holds them"
        )
    return found


def class_list(path: Path) -> tuple[str, ...]:
    """The class names of a text file, one a line.

    Raises:
        InputError: no such file, no text, or no names.
    """
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected one class name a line, found {error}. Write the file") from error
    if not names:
        raise InputError(f"{path}: expected one class name a line, found an empty file. Write the names in it")
    return names


def _from_yaml(path: Path) -> Layout:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected YAML, found {error}. Mend the file") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected `key: value` lines, found {kind_of(document)}. Mend the file")
    unknown = sorted(set(document) - _KEYS)
    if unknown:
        raise InputError(f"{path}: unknown key '{unknown[0]}'. Known keys: {', '.join(sorted(_KEYS))}")
    classes = _texts(document, "classes", path)
    labels = _texts(document, "labels", path) if "labels" in document else classes
    if len(labels) != len(classes):
        raise InputError(
            f"{path}: expected {len(classes)} labels as there are classes, found {len(labels)}. Add or remove"
        )
    kind, splits = document.get("format", "yolo"), document.get("splits")
    if kind not in ("yolo", "voc", "coco"):
        raise InputError(f"{path}: expected format yolo, voc or coco, found {kind!r}. Mend the file")
    if not isinstance(splits, dict) or not splits or not all(isinstance(source, str) for source in splits.values()):
        raise InputError(f"{path}: expected `splits:` with lines `train: train.txt`, found {splits!r}. Add them")
    parameters = document.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InputError(f"{path}: expected `parameters:` with lines `key: value`, found {parameters!r}. Leave it out")
    return Layout(
        root=path.parent,
        kind=kind,
        classes=classes,
        labels=labels,
        origin=str(document.get("origin", path.parent.name)),
        splits={str(name): (path.parent / source,) for name, source in splits.items()},
        parameters=parameters,
        name=str(document.get("name", path.parent.resolve().name)),
    )


def _texts(document: dict[str, Any], key: str, path: Path) -> tuple[str, ...]:
    value = document.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise InputError(f"{path}: expected `{key}:` with a list of names, found {value!r}. Mend the file")
    return tuple(value)


def _bare(root: Path, kind: Kind, classes: tuple[str, ...], splits: Mapping[str, Path | tuple[Path, ...]]) -> Layout:
    name = root.resolve().name
    labels = tuple(CLASS_LABELS.get(class_name, class_name) for class_name in classes)
    sources = {split: source if isinstance(source, tuple) else (source,) for split, source in splits.items()}
    return Layout(root, kind, classes, labels, name, sources, name=name)


def _bare_yolo(root: Path) -> Layout | None:
    """classes.txt with train.txt, val.txt, test.txt; or images/train, images/val …; or one folder of images."""
    named = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    if named is None or not (root / "images").is_dir() or annotation_folder(root) is not None:
        return None
    lists = {path.stem: path for path in sorted(root.glob("*.txt")) if _lists_images(path)}
    folders = {path.name: path for path in sorted((root / "images").iterdir()) if path.is_dir()}
    return _bare(root, "yolo", class_list(named), lists or folders or {"all": root / "images"})


def _lists_images(path: Path) -> bool:
    """Whether a text file is a list of images: by its name, or by what its first line ends in."""
    if path.stem in _SPLIT_NAMES:
        return True
    with open(path, encoding="utf-8-sig", errors="replace") as lines:
        first = next((line.strip() for line in lines if line.strip()), "")
    return Path(first).suffix.lower() in IMAGE_SUFFIXES


def _bare_voc(root: Path) -> Layout | None:
    """A VOC folder, or RDD2022's country folder, whose subfolders are the splits; classes.txt may give the order."""
    own = annotation_folder(root)
    if own is not None:
        lists = {path.stem: path for path in sorted((root / "ImageSets/Main").glob("*.txt")) if "_" not in path.stem}
        splits, annotations = lists or {"all": root}, [own]
    else:
        subfolders = {path.name: path for path in sorted(root.iterdir()) if path.is_dir()}
        places = {name: annotation_folder(folder) for name, folder in subfolders.items() if voc_images(folder)}
        annotations = [place for place in places.values() if place is not None]
        splits = {name: subfolders[name] for name, place in places.items() if place is not None}
    return _bare(root, "voc", _voc_classes(root, annotations), splits) if annotations else None


def _rdd_countries(root: Path, countries: Sequence[str]) -> Layout | None:
    """Several countries at once: RDD2022's COUNTRY/train/ or RDD2020's train/COUNTRY/, each with its annotations."""
    found: dict[str, dict[str, Path]] = {}
    for folder in sorted(path for path in root.glob("*/*") if path.is_dir()):
        outer, inner = folder.relative_to(root).parts
        split, country = (outer, inner) if outer in _SPLIT_NAMES else (inner, outer)
        if annotation_folder(folder) is not None and voc_images(folder):
            found.setdefault(country, {})[split] = folder
    if not found:
        return None
    check_countries(countries, list(found), root)
    kept = [found[country] for country in (countries or found)]
    names = dict.fromkeys(split for folders in kept for split in folders)
    splits = {name: tuple(folders[name] for folders in kept if name in folders) for name in names}
    places = [annotation_folder(folder) for folders in splits.values() for folder in folders]
    classes = _voc_classes(root, [place for place in places if place is not None])
    return replace(_bare(root, "voc", classes, splits), country_folders=True)


def _voc_classes(root: Path, annotations: Sequence[Path]) -> tuple[str, ...]:
    """The classes of classes.txt in its order, else those that occur, by name."""
    if (root / "classes.txt").is_file():
        return class_list(root / "classes.txt")
    return tuple(sorted(set().union(*(voc_class_names(place) for place in annotations))))


def _bare_coco(root: Path) -> Layout | None:
    files = {split_name(path): path for path in sorted((root / "annotations").glob("*.json"))}
    return _bare(root, "coco", coco_class_names(next(iter(files.values()))), files) if files else None
