"""Reading COCO annotation files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from board_app.core.errors import InputError
from compress.data.check import check_dataset
from compress.data.dataset import open_dataset
from tests.compress.data.conftest import write_image, write_text

SOUND: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 80, "width": 100}, {"id": "two", "file_name": "b.jpg"}],
    "categories": [{"id": 7, "name": "D10"}, {"id": 3, "name": "D00"}],
    "annotations": [
        {"id": 1, "image_id": "two", "category_id": 7, "bbox": [10, 20, 30, 40]},
        {"id": 2, "image_id": "two", "category_id": 3, "bbox": [0, 0, 100, 80]},
    ],
}


def _folder(root: Path, changed: Mapping[str, object] = MappingProxyType({}), images: str = "images") -> Path:
    for number, name in enumerate(("a.jpg", "b.jpg")):
        write_image(root / images / name, seed=number)
    write_text(root / "annotations/instances_train2017.json", json.dumps(SOUND | dict(changed)))
    return root


@pytest.mark.parametrize("images", ["images", "train2017"])
def test_boxes_of_a_file(tmp_path: Path, images: str) -> None:
    """Boxes become corners, classes are in the order of their ids; COCO's own folders of images are found too."""
    dataset = open_dataset(_folder(tmp_path, images=images), "train2017")
    assert dataset.classes == ("D00", "D10")
    first, second = dataset.samples
    assert first.boxes_xyxy.shape == (0, 4) and first.image_path == tmp_path / images / "a.jpg"
    assert second.boxes_xyxy.tolist() == [[10, 20, 40, 60], [0, 0, 100, 80]] and second.class_id.tolist() == [1, 0]


@pytest.mark.parametrize("key", ["images", "categories", "annotations"])
@pytest.mark.parametrize("value", [None, {}, [3]])
def test_a_list_that_is_none(tmp_path: Path, key: str, value: object) -> None:
    """Without one of COCO's three lists of objects a file is refused, and the list named."""
    with pytest.raises(InputError, match=f"instances_train2017.json: expected a list '{key}' of objects"):
        open_dataset(_folder(tmp_path, {key: value}))


@pytest.mark.parametrize("category", [{"id": 1}, {"name": "D00"}, {"id": "1", "name": "D00"}, {"id": 1, "name": 2}])
def test_a_category_that_is_none(tmp_path: Path, category: object) -> None:
    """A category needs an id and a name."""
    with pytest.raises(InputError, match="expected categories with an 'id' and a 'name'"):
        open_dataset(_folder(tmp_path, {"categories": [category]}))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"images": [*SOUND["images"], {"id": 1, "file_name": "c.jpg"}]}, r"found c.jpg \(id 1\) again"),
        ({"images": [*SOUND["images"], {"id": 3, "file_name": "a.jpg"}]}, r"found a.jpg \(id 3\) again"),
        ({"images": [*SOUND["images"], {"id": 3}]}, "images/None, found no such file"),
        ({"images": [SOUND["images"][1], {"id": 1, "file_name": "a.jpg", "height": 8, "width": 9}]}, "found 9x8"),
        ({"annotations": [{"image_id": [1], "category_id": 7, "bbox": [0, 0, 9, 9]}]}, r"some of image \[1\]"),
        (
            {"annotations": [{"id": 5, "image_id": 1, "category_id": [7], "bbox": [0, 0, 9, 9]}]},
            "annotation 5: .*classes",
        ),
        ({"annotations": [{"id": 5, "image_id": 1, "category_id": 7, "bbox": [0, 0, 9]}]}, "bbox with 4 numbers"),
    ],
)
def test_mistakes_are_told_by_the_check(tmp_path: Path, changed: dict[str, object], expected: str) -> None:
    """What is wrong with single entries is told with the file, and the rest is read."""
    report = check_dataset(_folder(tmp_path, changed))
    assert report.splits["train2017"].images >= 2
    assert re.search(expected, "\n".join(map(str, report.problems)))
