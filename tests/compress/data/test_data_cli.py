"""`roadslim data` as a user types it."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import cv2
import pytest

from compress.data.check import check_dataset
from roadslim import main


def test_check_of_a_sound_dataset(yolo_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sound dataset is told in tables, with exit 0."""
    assert main(["data", "check", str(yolo_folder)]) == 0
    out = capsys.readouterr().out
    assert "no problems" in out and "longitudinal" in out and "train" in out


def test_check_as_json(yolo_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON document has counts, sizes and versions."""
    assert main(["data", "check", str(yolo_folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1 and document["roadslim_version"] and document["ok"]
    assert document["splits"]["train"] == {
        "images": 2,
        "images_without_boxes": 1,
        "boxes": 2,
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
    """Wrong labels, cut-off and unreadable images and a picture in two splits are told together, with exit 1."""
    (yolo_folder / "labels/a.txt").write_text("7 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1\n")
    (yolo_folder / "labels/b.txt").unlink()
    content = (yolo_folder / "images/a.jpg").read_bytes()
    (yolo_folder / "images/cut.jpg").write_bytes(content[: len(content) // 2])
    (yolo_folder / "images/c.jpg").write_bytes(content)
    (yolo_folder / "labels/cut.txt").touch()
    with open(yolo_folder / "val.txt", "a") as listing:
        listing.write("images/cut.jpg\nimages/none.jpg\n")
    assert main(["data", "check", str(yolo_folder), "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    places = [(Path(problem["path"]).name, problem["line"]) for problem in problems]
    assert places == [
        ("a.txt", 1),
        ("a.txt", 2),
        ("b.txt", None),
        ("val.txt", 3),
        ("c.jpg", None),
        ("cut.jpg", None),
    ]
    assert main(["data", "check", str(yolo_folder)]) == 1
    assert "6 problems" in capsys.readouterr().out


def test_check_of_an_empty_split(yolo_folder: Path) -> None:
    """A split without images is a mistake, and the figures of nothing are no crash."""
    (yolo_folder / "val.txt").write_text("")
    report = check_dataset(yolo_folder)
    assert [problem.path.name for problem in report.problems] == ["val.txt"]
    assert report.splits["val"].images == 0


def test_figure(yolo_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The contact sheet is a picture with a tile for every image of a small set."""
    figure = yolo_folder / "sheets/sheet.png"
    assert main(["data", "check", str(yolo_folder), "--figure", str(figure)]) == 0
    assert cv2.imread(str(figure)).shape == (256 + 18, 3 * 320, 3)
    assert main(["data", "check", str(yolo_folder), "--figure", "sheet.txt"]) == 2
    assert ".png or .jpg" in capsys.readouterr().err


def test_convert(yolo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A converted dataset is sound and has the same boxes; a folder with something in it is refused."""
    target = tmp_path / "voc"
    assert main(["data", "convert", str(yolo_folder), str(target), "--to", "voc", "--ignore", "Repair"]) == 0
    assert "2 train, 1 val" in capsys.readouterr().out
    report = check_dataset(target)
    assert not report.problems
    assert [entry.boxes for entry in report.classes] == [{"train": 1, "val": 0}, {"train": 0, "val": 1}]
    assert main(["data", "convert", str(yolo_folder), str(target), "--to", "coco"]) == 2
    assert "found something" in capsys.readouterr().err


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
    [[], ["check"], ["convert", "a", "b"], ["convert", "a", "b", "--to", "voc", "--val", "some"], ["scenes"]],
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
