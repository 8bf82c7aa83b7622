"""`roadslim data` as a user types it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from compress.data.check import check_dataset
from roadslim import main


def write_text(path: Path, text: str) -> None:
    """A text file, its folders too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def sound_folder(yolo_folder: Path) -> Path:
    """The small dataset with every class in train: D10 too."""
    with open(yolo_folder / "labels/a.txt", "a") as labels:
        labels.write("1 0.1 0.1 0.1 0.1\n")
    return yolo_folder


def problems_of(folder: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> list[tuple[str, int | None]]:
    """File names and lines of what `data check` finds."""
    capsys.readouterr()
    main(["data", "check", str(folder), "--json", *flags])
    problems = json.loads(capsys.readouterr().out)["problems"]
    return [(Path(problem["path"]).name, problem["line"]) for problem in problems]


def test_check_of_a_sound_dataset(sound_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sound dataset is told in tables, with exit 0; what val cannot measure is a warning."""
    assert main(["data", "check", str(sound_folder)]) == 0
    out = capsys.readouterr().out
    assert "longitudinal" in out and "train" in out and out.endswith("1 warning\n")
    assert "warning" in out and "every class in val, found none of D00, Repair" in out
    assert main(["data", "check", str(sound_folder), "--map", "D00=crack", "D10=crack", "--ignore", "Repair"]) == 0
    assert capsys.readouterr().out.endswith("no problems\n")


def test_check_as_json(sound_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON document has counts, sizes and versions."""
    assert main(["data", "check", str(sound_folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1 and document["roadslim_version"] and document["ok"]
    assert document["splits"]["train"] == {
        "images": 2,
        "images_without_boxes": 1,
        "boxes": 3,
        "height_px": [80, 80],
        "width_px": [100, 100],
    }
    assert document["classes"][0] == {
        "name": "D00",
        "label": "longitudinal crack",
        "boxes": {"train": 1, "val": 0},
        "width_px": [20, 20, 20],
        "height_px": [40, 40, 40],
        "small_share": 1.0,
    }


def test_check_tells_everything_at_once(yolo_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong labels, labels of nothing, unseen classes, broken images and one in two splits are told, with exit 1."""
    (yolo_folder / "labels/a.txt").write_text("7 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1\n0 0.5 0.5 0 0.1\n0 2 0.5 0.2 0.1\n")
    (yolo_folder / "labels/b.txt").unlink()
    (yolo_folder / "labels/stray.txt").touch()
    content = (yolo_folder / "images/a.jpg").read_bytes()
    (yolo_folder / "images/cut.jpg").write_bytes(content[: len(content) // 2])
    (yolo_folder / "images/c.jpg").write_bytes(content)
    (yolo_folder / "labels/cut.txt").touch()
    with open(yolo_folder / "val.txt", "a") as listing:
        listing.write("images/cut.jpg\nimages/none.jpg\n")
    assert problems_of(yolo_folder, capsys) == [
        ("a.txt", 1),
        ("a.txt", 2),
        ("a.txt", 3),
        ("a.txt", 4),
        ("b.txt", None),
        ("val.txt", 3),
        ("stray.txt", None),
        ("train.txt", None),
        ("cut.jpg", None),
        ("c.jpg", None),
    ]
    assert main(["data", "check", str(yolo_folder)]) == 1
    assert "10 problems, 1 warning" in capsys.readouterr().out


def test_check_of_voc(voc_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Broken XML, an annotation without image and every unknown class are told at once."""
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
    root = voc_folder("".join(f"<object><name>{name}</name>{box}</object>\n" for name in ("D00", "D43", "D43", "D44")))
    (root / "classes.txt").write_text("D00\n")
    (root / "Annotations/8.xml").write_text("<annotation><object></annotation>")
    (root / "JPEGImages/8.jpg").write_bytes((root / "JPEGImages/7.jpg").read_bytes())
    (root / "Annotations/9.xml").write_text("<annotation/>")
    assert problems_of(root, capsys) == [("7.xml", 4), ("7.xml", 5), ("7.xml", 6), ("8.xml", 1), ("9.xml", None)]
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("7\n")
    assert problems_of(root, capsys, "--map", "D43=D00", "D44=D00") == [("9.xml", None)]
    assert main(["data", "check", str(root)]) == 1
    assert "D43 (2 boxes), D44 (1 boxes)" in capsys.readouterr().out


def test_check_finds_a_picture_saved_anew(sound_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture that is in the other split at another size and quality is told with its twin."""
    noise = cv2.GaussianBlur(np.random.default_rng(2).normal(128, 700, (160, 200, 3)), (0, 0), 8)
    picture = np.clip(noise, 0, 255).astype(np.uint8)
    cv2.imwrite(str(sound_folder / "images/a.jpg"), picture)
    small = cv2.resize(picture, (120, 96), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(sound_folder / "images/c.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 40])
    assert problems_of(sound_folder, capsys) == [("c.jpg", None)]
    assert main(["data", "check", str(sound_folder)]) == 1
    assert "saved anew as" in capsys.readouterr().out


def test_check_of_an_empty_split(sound_folder: Path) -> None:
    """A split without images is a mistake, and the figures of nothing are no crash."""
    (sound_folder / "val.txt").write_text("")
    report = check_dataset(sound_folder)
    assert [problem.path.name for problem in report.problems] == ["val.txt"]
    assert report.splits["val"].images == 0


def test_check_warns_of_frames_of_one_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two views of one road in two splits are a warning with both names, only if asked for; the exit stays 0."""
    rng = np.random.default_rng(3)
    ground = np.clip(cv2.GaussianBlur(rng.normal(128, 500, (400, 400)), (0, 0), 2), 0, 255).astype(np.uint8)
    for name, shift in (("one", 0), ("two", 30)):
        (tmp_path / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"images/{name}.png"), ground[shift : shift + 240, :320])
        write_text(tmp_path / f"labels/{name}.txt", "0 0.5 0.5 0.1 0.1\n")
    write_text(tmp_path / "classes.txt", "D00\n")
    write_text(tmp_path / "train.txt", "images/one.png\n")
    write_text(tmp_path / "val.txt", "images/two.png\n")
    assert main(["data", "check", str(tmp_path)]) == 0
    assert "warning" not in capsys.readouterr().out
    figure = tmp_path / "sheet.png"
    assert main(["data", "check", str(tmp_path), "--near-duplicates", "--figure", str(figure)]) == 0
    out = capsys.readouterr().out
    assert "1 in train, 1 in val" in out and "one.png" in out and "two.png" in out and figure.is_file()


def test_figure(sound_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The contact sheet is a picture; another ending is refused before anything is read."""
    figure = sound_folder / "sheets/sheet.png"
    assert main(["data", "check", str(sound_folder), "--figure", str(figure)]) == 0
    assert cv2.imread(str(figure)).shape[1] == 6 * 320
    assert main(["data", "check", str(sound_folder), "--figure", "sheet.txt"]) == 2
    assert ".png or .jpg" in capsys.readouterr().err


def test_convert(sound_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A converted dataset is sound and has the same boxes; a folder with something in it is refused."""
    target = tmp_path / "voc"
    flags = ["--to", "voc", "--ignore", "Repair", "--map", "D00=crack"]
    assert main(["data", "convert", str(sound_folder), str(target), *flags]) == 0
    assert "2 train, 1 val" in capsys.readouterr().out
    report = check_dataset(target)
    assert not report.problems
    assert [entry.name for entry in report.classes] == ["crack", "D10"]
    assert [entry.boxes for entry in report.classes] == [{"train": 1, "val": 0}, {"train": 1, "val": 1}]
    assert main(["data", "convert", str(sound_folder), str(target), "--to", "coco"]) == 2
    assert "found something" in capsys.readouterr().err


def test_convert_by_scene(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Frames of one place come into one split, and scenes.csv beside it says which belong together."""
    rng = np.random.default_rng(8)
    for place in range(4):
        ground = np.clip(cv2.GaussianBlur(rng.normal(128, 500, (400, 400)), (0, 0), 2), 0, 255).astype(np.uint8)
        for view in range(3):
            path = tmp_path / f"source/images/{place}{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), ground[20 * view : 20 * view + 240, :320])
            write_text(tmp_path / f"source/labels/{place}{view}.txt", "0 0.5 0.5 0.1 0.1\n")
    write_text(tmp_path / "source/classes.txt", "D00\n")
    target = tmp_path / "target"
    command = ["data", "convert", str(tmp_path / "source"), str(target), "--to", "yolo", "--val", "25%"]
    assert main([*command, "--by", "scene"]) == 0
    assert "9 train, 3 val" in capsys.readouterr().out
    lines = [line.split(",") for line in (target / "scenes.csv").read_text().splitlines()]
    assert lines[0] == ["image", "split", "scene"] and len(lines) == 13
    assert len({(image[0], split, scene) for image, split, scene in lines[1:]}) == 4


@pytest.mark.parametrize("flags", [["--anew"], ["--by", "scene"]])
def test_how_to_divide_needs_shares(
    sound_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    """A flag that would do nothing is told."""
    assert main(["data", "convert", str(sound_folder), str(tmp_path / "new"), "--to", "voc", *flags]) == 2
    assert f"{flags[0]}: expected --val or --test with it" in capsys.readouterr().err


def test_convert_refuses_a_wrong_dataset(yolo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written from labels that are wrong."""
    (yolo_folder / "labels/a.txt").write_text("0 2 2 0.1 0.1\n")
    assert main(["data", "convert", str(yolo_folder), str(tmp_path / "voc"), "--to", "voc"]) == 1
    assert "labels/a.txt:1" in capsys.readouterr().err
    assert not (tmp_path / "voc").exists()


def test_scenes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scenes are made once, with an eighth for val and test."""
    command = ["data", "scenes", str(tmp_path / "set"), "--images", "9", "--seed", "2", "--size", "96", "128"]
    assert main([*command, "--processes", "1"]) == 0
    assert main(command) == 0
    assert "there already" in capsys.readouterr().out
    report = check_dataset(tmp_path / "set")
    assert [split.images for split in report.splits.values()] == [9, 1, 1] and not report.problems


def test_full_disk(
    yolo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk neither a converted dataset nor scenes are left half done, and the message says what to do."""

    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    before = sorted(tmp_path.iterdir())
    for command in (
        ["convert", str(yolo_folder), str(tmp_path / "new"), "--to", "coco"],
        ["scenes", str(tmp_path / "new"), "--images", "1", "--size", "96", "128", "--processes", "1"],
    ):
        assert main(["data", *command]) == 1
        assert "the disk is full" in capsys.readouterr().err
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["check"],
        ["convert", "a", "b"],
        ["convert", "a", "b", "--to", "voc", "--val", "some"],
        ["check", "a", "--map", "D00"],
        ["scenes"],
    ],
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Missing and wrong arguments end with exit 2 and a usage line."""
    with pytest.raises(SystemExit) as caught:
        main(["data", *arguments])
    assert caught.value.code == 2 and "usage" in capsys.readouterr().err.lower()


@pytest.mark.parametrize("command", ["check", "convert", "scenes"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command's help ends with an example."""
    with pytest.raises(SystemExit):
        main(["data", command, "--help"])
    assert f"roadslim data {command}" in capsys.readouterr().out
