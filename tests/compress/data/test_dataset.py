"""Reading whole datasets: splits, classes, fingerprints."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from board_app.core.errors import InputError, UsageError
from compress.data.dataset import open_dataset, read_voc, read_yolo

CLASSES = ("D00", "D10", "Repair")


@pytest.mark.parametrize(("name", "found"), [("none", "none"), ("README.md", "a file")])
def test_a_mistyped_folder_is_looked_at_first(tmp_path: Path, name: str, found: str) -> None:
    """Who mistyped a path does not want a new dataset there."""
    (tmp_path / "README.md").write_text("text")
    with pytest.raises(InputError, match=f"{name}, found {found}. Check the path, or make one"):
        open_dataset(tmp_path / name)


def test_yolo_boxes_in_pixels(yolo_folder: Path) -> None:
    """Shares of the image become corners in its pixels."""
    dataset = open_dataset(yolo_folder, "train")
    assert dataset.classes == CLASSES
    np.testing.assert_allclose(dataset.samples[0].boxes_xyxy, [[40, 20, 60, 60], [0, 0, 50, 40]], atol=1e-4)
    assert dataset.samples[0].class_id.tolist() == [0, 2]
    assert dataset.samples[0].boxes_xyxy.dtype == np.float32 and dataset.samples[0].class_id.dtype == np.int32


def test_empty_label_file_means_no_damage(yolo_folder: Path) -> None:
    """An image with an empty label file is a sample without boxes, of shape (0, 4)."""
    assert open_dataset(yolo_folder, "train").samples[1].boxes_xyxy.shape == (0, 4)


def test_all_splits_together(yolo_folder: Path) -> None:
    """Without a split the dataset has the samples of all of them in their order."""
    names = [sample.image_path.name for sample in open_dataset(yolo_folder).samples]
    assert names == ["a.jpg", "b.png", "c.jpg"]


def test_ignored_class_closes_up(yolo_folder: Path) -> None:
    """Boxes of an ignored class go, the images stay, and the ids close up."""
    dataset = open_dataset(yolo_folder, ignore=("D00",))
    assert dataset.classes == ("D10", "Repair")
    assert [sample.class_id.tolist() for sample in dataset.samples] == [[1], [], [0]]


def test_unknown_ignored_class(yolo_folder: Path) -> None:
    """A misspelt class to ignore is told instead of ignoring nothing."""
    with pytest.raises(UsageError, match="'Repare'.*D00, D10, Repair"):
        open_dataset(yolo_folder, ignore=("Repare",))


def test_unknown_split_names_the_known(yolo_folder: Path) -> None:
    """A split that is not there is told with those that are and the way to make it."""
    with pytest.raises(InputError, match=r"split 'test', found train, val.*data convert"):
        open_dataset(yolo_folder, "test")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.touch()])
def test_no_dataset(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    """Nothing, an empty folder and a stray file are no datasets."""
    make(tmp_path / "there")
    with pytest.raises(InputError, match="expected"):
        open_dataset(tmp_path / "there")


def test_mistakes_are_told_together(yolo_folder: Path) -> None:
    """The first ten mistakes come with file and line, the others as a number."""
    (yolo_folder / "labels/c.txt").write_text("9 0.5 0.5 0.1 0.1\n" * 14)
    with pytest.raises(InputError) as caught:
        open_dataset(yolo_folder, "val")
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert f"{yolo_folder}/labels/c.txt:10: expected a class from 0 to 2" in lines[9]
    assert "4 more" in lines[10] and "roadslim data check" in lines[10]


def test_fingerprint_follows_content_alone(yolo_folder: Path, tmp_path: Path) -> None:
    """A copy elsewhere has the same fingerprint; a pixel, a box or a class name changes it."""
    copy = tmp_path / "copy"
    shutil.copytree(yolo_folder, copy)
    before = open_dataset(yolo_folder).fingerprint()
    assert len(before) == 64
    assert open_dataset(copy).fingerprint() == before
    assert open_dataset(yolo_folder, "train").fingerprint() != before
    (copy / "labels/b.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    boxes_changed = open_dataset(copy).fingerprint()
    (copy / "classes.txt").write_text("D00\nD10\nD20\n")
    name_changed = open_dataset(copy).fingerprint()
    (copy / "images/b.png").write_bytes((copy / "images/c.jpg").read_bytes())
    assert len({before, boxes_changed, name_changed, open_dataset(copy).fingerprint()}) == 4


def test_dataset_yaml(yolo_folder: Path) -> None:
    """dataset.yaml gives classes, words for them, origin and splits, and may be named itself."""
    (yolo_folder / "classes.txt").unlink()
    text = (
        "name: town\norigin: a walk\nclasses: [D00, D10, Repair]\n"
        "labels: [long, across, patch]\nsplits: {val: val.txt}\n"
    )
    (yolo_folder / "dataset.yaml").write_text(text)
    for path in (yolo_folder, yolo_folder / "dataset.yaml"):
        dataset = open_dataset(path)
        assert (dataset.name, dataset.origin, dataset.labels) == ("town", "a walk", ("long", "across", "patch"))
        assert len(dataset) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "key: value"),
        ("classes: [", "expected YAML"),
        ("classes: D00\nsplits: {val: val.txt}", "list of names"),
        ("classes: [a, b]\nlabels: [a]\nsplits: {val: val.txt}", "expected 2 labels"),
        ("classes: [a]\nformat: tf\nsplits: {val: val.txt}", "yolo, voc or coco"),
        ("classes: [a]", "`splits:`"),
        ("classes: [a]\nsplits: {val: [a.txt, b.txt]}", "`splits:`"),
        ("classes: [a]\nsplits: {val: val.txt}\nparameters: 3", "`parameters:`"),
        ("clases: [a]\nsplits: {val: val.txt}", "unknown key 'clases'"),
        ("classes: [D00, D10, Repair]\nsplits: {val: other.txt}", "other.txt: expected a list of images"),
        ("classes: [D00, D00]\nsplits: {val: val.txt}", "D00 twice"),
    ],
)
def test_wrong_dataset_yaml(yolo_folder: Path, text: str, expected: str) -> None:
    """Every mistake in dataset.yaml is told with the file's name."""
    (yolo_folder / "dataset.yaml").write_text(text)
    with pytest.raises((InputError, UsageError), match=expected):
        open_dataset(yolo_folder)


def test_read_yolo_with_given_classes(yolo_folder: Path) -> None:
    """A list file or an image folder can be read with class names from elsewhere."""
    assert len(read_yolo(yolo_folder / "train.txt", CLASSES)) == 2
    assert len(read_yolo(yolo_folder / "images", CLASSES, ignore=("Repair",))) == 3


def test_split_folders(yolo_folder: Path) -> None:
    """Without list files the folders below images are the splits."""
    for split, name in (("train", "a"), ("val", "c")):
        (yolo_folder / "labels" / split).mkdir()
        (yolo_folder / "images" / split).mkdir()
        (yolo_folder / f"images/{name}.jpg").rename(yolo_folder / f"images/{split}/{name}.jpg")
        (yolo_folder / f"labels/{name}.txt").rename(yolo_folder / f"labels/{split}/{name}.txt")
        (yolo_folder / f"{split}.txt").unlink()
    assert [sample.class_id.tolist() for sample in open_dataset(yolo_folder, "val").samples] == [[1]]


def test_other_text_files_are_no_splits(yolo_folder: Path) -> None:
    """A read-me beside the list files is no split; a list of any name is."""
    (yolo_folder / "README.txt").write_text("Roads of our town.\n")
    (yolo_folder / "night.txt").write_text("\nimages/c.jpg\n")
    assert len(open_dataset(yolo_folder)) == 4
    assert len(open_dataset(yolo_folder, "night")) == 1


def test_rdd2022_country_folder(yolo_folder: Path, tmp_path: Path) -> None:
    """A country folder as RDD2022 ships it has the split train; its test part without annotations is no split."""
    country = tmp_path / "Japan"
    for part in ("train", "test"):
        (country / part / "images").mkdir(parents=True)
        shutil.copy(yolo_folder / "images/a.jpg", country / part / "images/Japan_000001.jpg")
    (country / "train/annotations/xmls").mkdir(parents=True)
    text = "<annotation><object><name>D00</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax>"
    (country / "train/annotations/xmls/Japan_000001.xml").write_text(text + "</bndbox></object></annotation>")
    dataset = open_dataset(country, "train", ignore=("Repair",))
    assert dataset.classes == ("D00",) and dataset.labels == ("longitudinal crack",)
    assert dataset.samples[0].boxes_xyxy.tolist() == [[1, 2, 30, 40]]
    with pytest.raises(InputError, match="found train"):
        open_dataset(country, "test")


def test_real_yolo_and_voc_agree(shared_data: Path) -> None:
    """The real set has its published counts, and its VOC original has the same boxes at 512/416 of the size."""
    root = shared_data / "rdd2022-cmb-mini"
    train, val = open_dataset(root, "train"), open_dataset(root, "val", ignore=("Repair",))
    assert (len(train), len(val)) == (894, 225)
    counts = np.bincount(np.concatenate([sample.class_id for sample in train.samples])).tolist()
    assert counts == [1157, 502, 396, 159, 157]
    assert sum(len(sample.class_id) for sample in val.samples) == 579 - 38
    by_name = {sample.image_path.name: sample for sample in train.samples}
    voc = read_voc(root / "voc_sample", train.classes)
    assert len(voc) == 30
    for sample in voc.samples:
        same = by_name[sample.image_path.name]
        assert sample.class_id.tolist() == same.class_id.tolist()
        np.testing.assert_allclose(same.boxes_xyxy * 512 / 416, sample.boxes_xyxy, atol=2e-3)
