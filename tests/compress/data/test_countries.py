"""Countries of RDD: as folders, and in the names of the pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from board_app.core.errors import UsageError
from compress.data.countries import country_of
from compress.data.dataset import Wanted, load_splits, open_dataset
from compress.data.writing import write_dataset

COUNTRIES = {"Japan": ("D00", "D50"), "India": ("D00", "D40"), "China_MotorBike": ("D20", "Repair")}


@pytest.fixture(params=["RDD2022", "RDD2020"])
def rdd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three countries with two pictures each, laid out as one of the two editions; each has a test part unlabelled."""
    root = tmp_path / request.param
    for country, classes in COUNTRIES.items():
        for split in ("train", "test"):
            part = root / (f"{country}/{split}" if request.param == "RDD2022" else f"{split}/{country}")
            (part / "images").mkdir(parents=True)
            for number, name in enumerate(classes, 1):
                stem = f"{country}_{number:06d}"
                cv2.imwrite(str(part / f"images/{stem}.jpg"), np.full((40, 50, 3), 90, np.uint8))
                if split == "train":
                    (part / "annotations/xmls").mkdir(parents=True, exist_ok=True)
                    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>39</ymax></bndbox>"
                    text = f"<annotation><object><name>{name}</name>{box}</object></annotation>"
                    (part / f"annotations/xmls/{stem}.xml").write_text(text)
    return root


@pytest.mark.parametrize(
    ("name", "country"),
    [
        ("Japan_000001.jpg", "Japan"),
        ("United_States_000001.jpg", "United_States"),
        ("China_MotorBike_000001.xml", "China_MotorBike"),
        ("000001.jpg", None),
        ("road.jpg", None),
    ],
)
def test_country_of_a_name(name: str, country: str | None) -> None:
    """What stands before the number is the country."""
    assert country_of(Path(name)) == country


def test_all_countries_are_one_dataset(rdd: Path) -> None:
    """The whole folder has one split, train, and every class that occurs in some country."""
    dataset = open_dataset(rdd, "train")
    assert dataset.classes == ("D00", "D20", "D40", "D50", "Repair")
    assert len(dataset) == 6 and list(load_splits(rdd, Wanted(), [])) == ["train"]


def test_some_countries(rdd: Path) -> None:
    """Only their pictures and their classes count, in the order asked for."""
    dataset = open_dataset(rdd, "train", countries=["Japan", "India"])
    assert dataset.classes == ("D00", "D40", "D50")
    assert [country_of(sample.image_path) for sample in dataset.samples] == ["Japan"] * 2 + ["India"] * 2


def test_countries_of_a_converted_set(rdd: Path, tmp_path: Path) -> None:
    """Where the pictures of all countries lie together their names tell; mistakes of others do not disturb."""
    write_dataset(tmp_path / "flat", load_splits(rdd, Wanted(), []), "yolo")
    (tmp_path / "flat/labels/India_000001.txt").write_text("nonsense")
    dataset = open_dataset(tmp_path / "flat", "train", countries=["China_MotorBike"], ignore=["Repair"])
    assert [sample.class_id.tolist() for sample in dataset.samples] == [[1], []]


def test_unknown_countries_are_named_at_once(rdd: Path, tmp_path: Path) -> None:
    """With those that there are."""
    write_dataset(tmp_path / "flat", load_splits(rdd, Wanted(), []), "yolo")
    for root in (rdd, tmp_path / "flat"):
        with pytest.raises(UsageError, match="Jpan, Idia, found countries: China_MotorBike, India, Japan"):
            open_dataset(root, "train", countries=["Jpan", "Japan", "Idia"])


def test_unknown_countries_and_classes_are_named_at_once(rdd: Path, tmp_path: Path) -> None:
    """Nobody has to run twice to find two mistakes in the flags."""
    write_dataset(tmp_path / "flat", load_splits(rdd, Wanted(), []), "yolo")
    with pytest.raises(UsageError) as error:
        open_dataset(tmp_path / "flat", "train", ["Foo"], {"D99": "D00"}, ["Jpan"])
    classes, countries = str(error.value).splitlines()
    assert "cannot map or ignore 'D99', 'Foo'" in classes and "expected pictures of Jpan" in countries
