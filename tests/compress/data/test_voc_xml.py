"""VOC annotations, right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from board_app.core.errors import InputError
from compress.data.dataset import open_dataset, read_voc

CLASSES = ("D00", "D10")
Maker = Callable[..., Path]


def an_object(name: str, *corners: object) -> str:
    """An <object> element."""
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


def test_no_objects(voc_folder: Maker) -> None:
    """An annotation without objects is an image without damage."""
    assert read_voc(voc_folder(""), CLASSES).samples[0].boxes_xyxy.shape == (0, 4)


def test_boxes_as_written(voc_folder: Maker) -> None:
    """Coordinates are taken as written, fractions too, and one pixel over the border is clipped."""
    root = voc_folder(an_object("D10", 1, 2.5, 101, 80) + an_object("D00", 0, 0, 9, 9))
    sample = read_voc(root, CLASSES).samples[0]
    assert sample.boxes_xyxy.tolist() == [[1, 2.5, 100, 80], [0, 0, 9, 9]]
    assert sample.class_id.tolist() == [1, 0]


def test_ignored_class(voc_folder: Maker) -> None:
    """A class to ignore may or may not occur."""
    root = voc_folder(an_object("Repair", 1, 1, 5, 5) + an_object("D00", 1, 1, 9, 9))
    assert read_voc(root, CLASSES, ignore=("Repair", "D0w0")).samples[0].class_id.tolist() == [0]


def test_classes_found_in_the_files(voc_folder: Maker) -> None:
    """A bare VOC folder has the classes that occur, in alphabetical order, or those of its classes.txt."""
    root = voc_folder(an_object("D10", 1, 1, 5, 5) + an_object("D00", 1, 1, 9, 9))
    assert open_dataset(root).classes == ("D00", "D10")
    (root / "classes.txt").write_text("D10\nD20\nD00\n")
    assert open_dataset(root).classes == ("D10", "D20", "D00")


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        (an_object("D20", 1, 1, 5, 5), "classes D00, D10, found 'D20'"),
        ("<object><bndbox/></object>", "found ''"),
        ("<object><name>D00</name></object>", "expected <bndbox>"),
        (an_object("D00", 1, 1, "wide", 5), "number as <xmax>, found 'wide'"),
        (an_object("D00", 1, 1, "nan", 5), "number as <xmax>, found 'nan'"),
        ("<object><name>D00</name><bndbox><xmin>1</xmin></bndbox></object>", "number as <ymin>, found none"),
        (an_object("D00", 5, 1, 5, 5), "xmin < xmax"),
        (an_object("D00", 1, 6, 5, 5), "ymin < ymax"),
        (an_object("D00", 1, 1, 102, 5), "inside the image of 100x80"),
    ],
)
def test_wrong_object(voc_folder: Maker, objects: str, expected: str) -> None:
    """Each wrong object is told with file and line."""
    with pytest.raises(InputError, match=rf"Annotations/7\.xml:3: .*{expected}"):
        read_voc(voc_folder(objects), CLASSES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", r"7\.xml:1: expected well-formed XML, found no element found"),
        ("<annotation>\n<object>\n</annotation>", r"7\.xml:3: expected well-formed XML, found mismatched tag"),
        ("<html/>", "expected <annotation>, found <html>"),
        (
            '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation>&e;</annotation>',
            "without <!DOCTYPE>, found one",
        ),
        ('<?xml version="1.0" encoding="gbk"?><annotation/>', "expected XML in UTF-8, found multi-byte"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "Save it in UTF-8"),
    ],
)
def test_wrong_document(voc_folder: Maker, text: str, expected: str) -> None:
    """A file that is no annotation is told, and entities are never read."""
    root = voc_folder("")
    (root / "Annotations/7.xml").write_text(text)
    with pytest.raises(InputError, match=expected):
        read_voc(root, CLASSES)


def test_growing_entities_are_refused(voc_folder: Maker) -> None:
    """Nested entities, in UTF-16 too, are refused before they grow."""
    levels = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "x">{levels}]><annotation>&e11;</annotation>'
    root = voc_folder("")
    for content in (bomb.encode(), ('<?xml version="1.0" encoding="utf-16"?>' + bomb).encode("utf-16")):
        (root / "Annotations/7.xml").write_bytes(content)
        with pytest.raises(InputError, match="DOCTYPE"):
            read_voc(root, CLASSES)


def test_size_of_another_image(voc_folder: Maker) -> None:
    """Boxes drawn on an image of another size are refused."""
    root = voc_folder("", size="<width>512</width><height>512</height>")
    with pytest.raises(InputError, match=r"expected the size of .*7.jpg \(100x80\), found 512x512"):
        read_voc(root, CLASSES)


@pytest.mark.parametrize("side", ["", "0", "inf", "wide"])
def test_a_size_that_is_none_is_passed_over(voc_folder: Maker, side: str) -> None:
    """A stated side that is no number says nothing about the image."""
    root = voc_folder("", size=f"<width>{side}</width><height>512</height>")
    assert len(read_voc(root, CLASSES)) == 1


def test_missing_image_and_missing_annotation(voc_folder: Maker) -> None:
    """An image without annotation and an annotation without image are told, each with the expected file."""
    root = voc_folder("")
    (root / "JPEGImages/7.jpg").rename(root / "JPEGImages/8.jpg")
    with pytest.raises(InputError) as caught:
        read_voc(root, CLASSES)
    assert "7.xml: expected an image 7.jpg" in str(caught.value)
    assert "8.xml: expected an annotation in this file, found no such file" in str(caught.value)
