"""Converted datasets: the same boxes in every format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_app.core.errors import InputError
from compress.data.class_map import ClassMap
from compress.data.dataset import Dataset, Wanted, load_splits, open_dataset
from compress.data.layout import Kind
from compress.data.sample import Sample
from compress.data.writing import label_text, write_dataset
from compress.data.yolo_text import parse_labels

PRECISION_PX = {"yolo": 1e-4, "voc": 0.0, "coco": 0.0}


def made(root: Path, count: int = 4, folder: str = "images") -> Dataset:
    """A dataset of random float32 boxes, with fractions and at the borders; the first image has none."""
    rng = np.random.default_rng(5)
    samples = []
    for number in range(count):
        path = root / folder / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", rng.integers(0, 255, (60 + number, 90, 3)).astype(np.uint8))[1].tobytes())
        low = rng.uniform(0, 50, (number, 2))
        boxes = np.concatenate([low, low + rng.uniform(1, 10, (number, 2))], 1).astype(np.float32)
        boxes[:1] = [0, 0, 90, 60 + number]
        samples.append(Sample(path, boxes, rng.integers(0, 2, number).astype(np.int32)))
    return Dataset("made", root, ("D00", "<&>"), tuple(samples), ("crack", "odd"), "a test")


@pytest.mark.parametrize("kind", ["yolo", "voc", "coco"])
def test_round_trip(tmp_path: Path, kind: Kind) -> None:
    """What is written reads back: images byte for byte, boxes within the format's precision, names and splits."""
    dataset = made(tmp_path / "source")
    parts = {name: replace(dataset, samples=dataset.samples[at:][:2]) for name, at in (("train", 0), ("val", 2))}
    write_dataset(tmp_path / "target", parts, kind)
    assert list(load_splits(tmp_path / "target", Wanted(), [])) == ["train", "val"]
    back = open_dataset(tmp_path / "target")
    assert (back.classes, back.labels, back.origin) == (dataset.classes, dataset.labels, dataset.origin)
    for before, after in zip(dataset.samples, back.samples, strict=True):
        assert before.image_path.read_bytes() == after.image_path.read_bytes()
        assert before.class_id.tolist() == after.class_id.tolist()
        np.testing.assert_allclose(after.boxes_xyxy, before.boxes_xyxy, rtol=0, atol=PRECISION_PX[kind])


@pytest.mark.parametrize("kind", ["yolo", "voc", "coco"])
def test_bare_folder(tmp_path: Path, kind: Kind) -> None:
    """The written folder is a usual one of its format: it reads without dataset.yaml as well."""
    dataset = made(tmp_path / "source")
    write_dataset(tmp_path / "target", {"train": dataset}, kind)
    before = open_dataset(tmp_path / "target", "train")
    (tmp_path / "target/dataset.yaml").unlink()
    after = open_dataset(tmp_path / "target", "train")
    assert set(after.classes) == set(before.classes)
    names = [[before.classes[i] for i in sample.class_id] for sample in before.samples]
    assert [[after.classes[i] for i in sample.class_id] for sample in after.samples] == names


def test_coco_as_pycocotools_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """pycocotools finds the same boxes and names in the written file."""
    from pycocotools.coco import COCO

    dataset = made(tmp_path / "source")
    write_dataset(tmp_path / "target", {"val": dataset}, "coco")
    coco = COCO(tmp_path / "target/annotations/instances_val.json")
    capsys.readouterr()  # it prints
    for image_id, sample in zip(sorted(coco.imgs), dataset.samples, strict=True):
        found = coco.loadAnns(coco.getAnnIds(image_id))
        assert [coco.cats[one["category_id"]]["name"] for one in found] == [dataset.classes[i] for i in sample.class_id]
        corners = np.array([one["bbox"] for one in found]).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        np.testing.assert_array_equal(corners.astype(np.float32), sample.boxes_xyxy)
        assert (coco.imgs[image_id]["height"], coco.imgs[image_id]["width"]) == sample.size_hw


@given(
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 1), st.floats(0.01, 1)),
    st.tuples(st.integers(32, 4096), st.integers(32, 4096)),
)
def test_yolo_precision(shares: tuple[float, float, float, float], size_hw: tuple[int, int]) -> None:
    """A box anywhere in an image of any size comes back within a thousandth of a pixel, without a complaint."""
    height, width = size_hw
    x, y, w, h = shares
    box = np.array([[x * width, y * height, min(x + w, 1) * width, min(y + h, 1) * height]], np.float32)
    problems: list[object] = []
    text = label_text(box, np.zeros(1, np.int32), size_hw)
    sample = parse_labels(text, Path("l"), Path("i"), size_hw, ClassMap(("D00",)), problems)  # type: ignore[arg-type]
    assert not problems
    np.testing.assert_allclose(sample.boxes_xyxy, box, atol=1e-3)


def test_same_names_in_two_folders(tmp_path: Path) -> None:
    """Images of the same name from two folders get their folder in front; a clash after that is an error."""
    first, second = made(tmp_path, folder="images/a"), made(tmp_path, folder="images/b")
    write_dataset(tmp_path / "target", {"train": first, "val": second}, "yolo")
    listing = (tmp_path / "target/val.txt").read_text().splitlines()
    assert listing[0] == "images/b_0.png"
    clash = made(tmp_path / "x", 1, "images/a"), made(tmp_path / "y", 1, "images/a")
    with pytest.raises(InputError, match="a_0 twice"):
        write_dataset(tmp_path / "other", {"train": clash[0], "val": clash[1]}, "yolo")
    assert not (tmp_path / "other").exists()
