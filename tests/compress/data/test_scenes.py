"""Synthetic scene sets and drives on the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from board_app.core.errors import UsageError
from board_app.core.road_scenes import RoadDrive, render_scene
from compress.data.dataset import open_dataset
from compress.data.drive_video import make_drive
from compress.data.scenes import ORIGIN, SceneSet, make_scenes

SMALL = SceneSet(seed=4, images=(5, 2, 1), size_hw=(96, 128))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder but dataset.yaml, which has the folder's name in it."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "dataset.yaml"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_dataset_of_scenes(tmp_path: Path) -> None:
    """The set reads as a dataset with the renderer's own boxes, and says that it is synthetic."""
    assert make_scenes(tmp_path / "set", SMALL, processes=1)
    for split, count in (("train", 5), ("val", 2), ("test", 1)):
        dataset = open_dataset(tmp_path / "set", split)
        assert len(dataset) == count and dataset.origin == ORIGIN
        scene = render_scene(SMALL.scene_seed(split, 0), SMALL.size_hw)
        np.testing.assert_allclose(dataset.samples[0].boxes_xyxy, scene.boxes_xyxy, atol=1e-4)
        assert dataset.samples[0].class_id.tolist() == scene.class_id.tolist()
        image = cv2.imread(str(dataset.samples[0].image_path))
        assert np.abs(image.astype(int) - scene.image_bgr).mean() < 4  # JPEG


def test_same_from_any_number_of_processes(tmp_path: Path) -> None:
    """One process and two give the same bytes."""
    make_scenes(tmp_path / "one", SMALL, processes=1)
    make_scenes(tmp_path / "two", SMALL, processes=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_seeds_never_meet() -> None:
    """No split of a set shares a scene with another split or another set."""
    seeds = [
        SceneSet(seed, (50, 50, 50)).scene_seed(split, index)
        for seed in range(5)
        for split in ("train", "val", "test")
        for index in (0, 1, 49, 999_999)
    ]
    assert len(set(seeds)) == len(seeds)


def test_made_once(tmp_path: Path) -> None:
    """The same set is not made again; another is refused, or replaces it when asked."""
    folder = tmp_path / "set"
    make_scenes(folder, SMALL, processes=1)
    before = contents(folder)
    assert not make_scenes(folder, SMALL, processes=1)
    other = SceneSet(seed=5, images=(1, 1, 1), size_hw=(96, 128))
    with pytest.raises(UsageError, match="another seed, images.*--replace"):
        make_scenes(folder, other, processes=1)
    assert contents(folder) == before
    assert make_scenes(folder, other, processes=1, replace=True)
    assert len(open_dataset(folder)) == 3


@pytest.mark.parametrize("content", ["precious", "name: mine\nclasses: [a]\nsplits: {all: x.txt}\n"])
def test_other_folders_are_never_replaced(tmp_path: Path, content: str) -> None:
    """What this command did not make stays, whatever is asked."""
    (tmp_path / "dataset.yaml").write_text(content)
    for replace in (False, True):
        with pytest.raises(UsageError, match="found something"):
            make_scenes(tmp_path, SMALL, processes=1, replace=replace)
    assert (tmp_path / "dataset.yaml").read_text() == content


@pytest.mark.parametrize(
    "values", [(-1, (1, 1, 1), (96, 128)), (0, (0, 1, 1), (96, 128)), (0, (1, 1, 1), (10, 128)), (0, (2000000, 1, 1))]
)
def test_values_out_of_range(values: tuple) -> None:  # type: ignore[type-arg]
    """Negative seeds, empty splits and tiny pictures are refused."""
    with pytest.raises(UsageError, match="expected"):
        SceneSet(*values)


def test_killed_run_leaves_no_dataset_and_no_process(tmp_path: Path) -> None:
    """After SIGKILL nothing is at the target, the workers end too, and the next run finishes and tidies up."""
    code = (
        "from pathlib import Path; from compress.data.scenes import *\n"
        "if __name__ == '__main__':\n"
        f"    make_scenes(Path({str(tmp_path / 'set')!r}), SceneSet(4, (2000, 1, 1), (96, 128)), 2)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, script], cwd=root, env=os.environ | {"PYTHONPATH": str(root)}) as run:
        deadline = time.monotonic() + 60
        while not any(tmp_path.glob(".set.*.partial/images/train/*.jpg")):
            assert time.monotonic() < deadline and run.poll() is None
            time.sleep(0.02)
        workers = _children(run.pid)
        run.send_signal(signal.SIGKILL)
    assert not (tmp_path / "set").exists() and workers
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() and not _is_zombie(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker goes on alone"
        time.sleep(0.05)
    assert make_scenes(tmp_path / "set", SMALL, processes=1)
    assert not list(tmp_path.glob(".set*"))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_drive_video(tmp_path: Path) -> None:
    """The video has every frame of the drive, and each line of the tracks the renderer's own boxes."""
    folder = tmp_path / "drive"
    assert make_drive(folder, seed=7, seconds=1, fps=6, size_hw=(96, 128))
    assert not make_drive(folder, seed=7, seconds=1, fps=6, size_hw=(96, 128))
    drive = RoadDrive(7, (96, 128), 6)
    capture = cv2.VideoCapture(str(folder / "drive.webm"))
    lines = [json.loads(line) for line in (folder / "tracks.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(6))
    for line in lines:
        frame = drive.frame(line["frame"])
        ok, image = capture.read()
        assert ok and np.abs(image.astype(int) - frame.image_bgr).mean() < 20  # VP8 smooths the asphalt's grain
        np.testing.assert_allclose(np.reshape(line["boxes_xyxy"], (-1, 4)), frame.boxes_xyxy, atol=0.01)
        assert line["track_id"] == frame.track_id.tolist()
    assert not capture.read()[0]
    assert json.loads((folder / "drive.json").read_text())["origin"] == ORIGIN


def test_drive_refusals(tmp_path: Path) -> None:
    """Odd sizes and no seconds are refused, and another drive is not replaced unasked."""
    with pytest.raises(UsageError, match="even sides"):
        make_drive(tmp_path / "drive", 1, 1, 5, (97, 128))
    with pytest.raises(UsageError, match="seconds"):
        make_drive(tmp_path / "drive", 1, 0, 5, (96, 128))
    (tmp_path / "precious").touch()
    with pytest.raises(UsageError, match="found something"):
        make_drive(tmp_path, 1, 0.2, 5, (96, 128), replace=True)
