"""Classes that a training split lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from board_app.core.errors import InputError
from compress.data.class_counts import box_counts, check_classes
from compress.data.dataset import open_dataset


def test_a_class_never_seen(yolo_folder: Path) -> None:
    """The class is named with both ways out; without it the split is sound."""
    with pytest.raises(InputError, match=r"class D10: expected boxes.*`ignore_classes: \[D10\]`.*`map_classes`"):
        check_classes(open_dataset(yolo_folder, "train"))
    with pytest.raises(InputError, match="classes D00, Repair: expected"):
        check_classes(open_dataset(yolo_folder, "val"))
    dataset = open_dataset(yolo_folder, "train", ignore=["D10"])
    assert box_counts(dataset).tolist() == [1, 1]
    check_classes(dataset)


def test_no_boxes_at_all(yolo_folder: Path) -> None:
    """A split of pictures without damage is told as such."""
    (yolo_folder / "labels/a.txt").write_text("")
    with pytest.raises(InputError, match="expected boxes in the training split, found none in 2 images"):
        check_classes(open_dataset(yolo_folder, "train"))
