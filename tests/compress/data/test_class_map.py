"""Other names for classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from board_app.core.errors import InputError, UsageError
from compress.data.class_map import ClassMap, what_becomes
from compress.data.dataset import open_dataset, read_voc

JAPAN = ("D00", "D01", "D10", "D11", "D20", "D40", "D43", "D44", "D50", "Repair")


@pytest.mark.parametrize(
    ("becomes", "kept"),
    [
        ({}, JAPAN),
        (dict.fromkeys(JAPAN), ()),
        ({"D01": "D00", "D11": "D10"}, ("D00", "D10", "D20", "D40", "D43", "D44", "D50", "Repair")),
        ({"D43": "marking", "D44": "marking", "D50": None, "Repair": None}, (*JAPAN[:6], "marking")),
        (dict.fromkeys(JAPAN, "damage"), ("damage",)),
        ({"D00": "D10", "D10": "D00"}, ("D10", "D01", "D00", *JAPAN[3:])),
        ({"D00": None, "D01": "D00"}, ("D00", *JAPAN[2:])),
    ],
)
def test_any_list(becomes: dict[str, str | None], kept: tuple[str, ...]) -> None:
    """The new list is in the order of the old one, and every old name leads to its new one's id."""
    class_map = ClassMap(JAPAN, becomes)
    assert class_map.kept == kept
    for old in JAPAN:
        new = becomes.get(old, old)
        assert class_map.id_of(old) == (None if new is None else kept.index(new))
    with pytest.raises(KeyError):
        class_map.id_of("D99")


def test_names_in_words() -> None:
    """A class keeps its words; one that others become has those of RDD, or its own name."""
    class_map = ClassMap(("D01", "x"), {"D01": "D00", "x": "y"})
    assert class_map.labels(("joint", "some")) == ("longitudinal crack", "y")
    assert ClassMap(("D01",)).labels(("joint",)) == ("joint",)


def test_one_mapping() -> None:
    """To ignore is to map to nothing; both for one class is a mistake."""
    assert what_becomes({"a": "b", "c": ""}, ["d"]) == {"a": "b", "c": None, "d": None}
    with pytest.raises(UsageError, match="both for a, c"):
        what_becomes({"a": "b", "c": "d"}, ["a", "c"])


def test_mapped_boxes(yolo_folder: Path) -> None:
    """Boxes have the new ids, and the pictures of a class that is left out stay."""
    dataset = open_dataset(yolo_folder, map_classes={"D10": "crack", "D00": "crack"}, ignore=["Repair"])
    assert dataset.classes == ("crack",)
    assert [sample.class_id.tolist() for sample in dataset.samples] == [[0], [], [0]]


def test_unknown_names_are_told_at_once(yolo_folder: Path) -> None:
    """All misspelt names, and the classes that there are."""
    with pytest.raises(UsageError, match="'D1', 'Repare'.*D00, D10, Repair"):
        open_dataset(yolo_folder, ignore=["Repare"], map_classes={"D1": "D10", "D00": "x"})


def test_unknown_classes_are_told_at_once(voc_folder: Callable[..., Path]) -> None:
    """Beside the places every class that the list lacks is named with its count, and mapping mends it."""
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
    names = ["D01"] * 12 + ["D50", "D00"]
    root = voc_folder("\n".join(f"<object><name>{name}</name>{box}</object>" for name in names))
    with pytest.raises(InputError, match=r"found D01 \(12 boxes\), D50 \(1 boxes\).*--map OLD=NEW.*--ignore"):
        read_voc(root, ("D00",))
    (root / "classes.txt").write_text("D00\n")
    dataset = open_dataset(root, map_classes={"D01": "D00"}, ignore=["D50"])
    assert dataset.classes == ("D00",) and dataset.samples[0].class_id.tolist() == [0] * 13
