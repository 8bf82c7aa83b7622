"""Pictures of one place, found by what they show."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from board_app.core.errors import InputError
from compress.data.dataset import open_dataset
from compress.data.scene_grouping import group_scenes
from compress.data.splitting import split_by_name, split_by_scene


def road(seed: int) -> np.ndarray:
    """A rough road seen from above, 900 x 600 pixels, with some marks of its own."""
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.normal(120, 60, (900, 600)), (0, 0), 2)
    picture = np.clip(120 + 4 * (grain - 120), 0, 255).astype(np.uint8)
    for _ in range(12):
        x, y, width, height = rng.integers(0, [500, 800, 90, 60])
        picture[y : y + height, x : x + width] //= 2
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)


def frame(ground: np.ndarray, forward: float) -> np.ndarray:
    """What a camera sees that looks ahead, so many pixels further on, 240 x 320."""
    seen = np.array([[150, 500 - forward], [450, 500 - forward], [520, 800 - forward], [80, 800 - forward]], np.float32)
    corners = np.array([[40, 0], [280, 0], [320, 240], [0, 240]], np.float32)
    return cv2.warpPerspective(ground, cv2.getPerspectiveTransform(seen, corners), (320, 240))


def test_frames_of_one_drive_are_one_scene(tmp_path: Path) -> None:
    """Four drives of five frames each in shuffled order, recompressed and of two sizes: four scenes, none mixed."""
    rng = np.random.default_rng(1)
    drives = rng.permutation(np.repeat(np.arange(4), 5))
    steps = {drive: iter(range(5)) for drive in range(4)}
    paths = []
    for number, drive in enumerate(drives):
        picture = frame(road(int(drive)), 40 * next(steps[drive]))
        if number % 2:
            picture = cv2.resize(picture, (640, 480))
        paths.append(tmp_path / f"{number}.jpg")
        cv2.imwrite(str(paths[-1]), picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    scenes = group_scenes(paths)
    assert len(set(zip(scenes.ids, drives, strict=True))) == 4 == scenes.ids.max() + 1
    assert list(dict.fromkeys(scenes.ids.tolist())) == [0, 1, 2, 3]
    assert len(scenes.links) == 16 and all(drives[link.first] == drives[link.second] for link in scenes.links)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_pictures_that_show_nothing(tmp_path: Path, count: int) -> None:
    """Without features nothing is proven: each picture is a scene of its own."""
    paths = [tmp_path / f"{number}.png" for number in range(count)]
    for path in paths:
        cv2.imwrite(str(path), np.full((60, 80, 3), 128, np.uint8))
    assert group_scenes(paths).ids.tolist() == list(range(count))


def test_a_file_that_is_no_image(tmp_path: Path) -> None:
    """It is named."""
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(InputError, match="a.jpg: expected an image"):
        group_scenes([tmp_path / "a.jpg"])


@pytest.mark.slow
def test_real_frames_against_known_scenes(shared_data: Path) -> None:
    """Of the pairs of rdd2022-cmb-mini that are known as one scene more than half are joined, and next to none wrongly.

    The known scenes are whole roads, so many of their pictures have nothing in common and no proof can join them. The
    scenes that are joined beyond them show the same cracks in the same line marks: looked at pair by pair.
    """
    root = shared_data / "rdd2022-cmb-mini"
    of_image = {
        row["image"]: int(row["scene"]) for row in csv.DictReader((root / "scenes.csv").read_text().splitlines())
    }
    whole = open_dataset(root)
    paths = [sample.image_path for sample in whole.samples]
    known, found = np.array([of_image[path.stem] for path in paths]), group_scenes(paths).ids
    upper = np.triu_indices(len(paths), 1)
    together, same = (found[:, None] == found)[upper], (known[:, None] == known)[upper]
    joined = {tuple(sorted(set(known[found == scene].tolist()))) for scene in range(found.max() + 1)}
    wrong = {scenes for scenes in joined if len(scenes) > 1}
    print(
        f"{found.max() + 1} scenes of {len(set(known))}, joins {(together & same).sum() / same.sum():.3f}, also {wrong}"
    )
    assert (together & same).sum() / same.sum() > 0.55
    assert wrong <= {(2, 40), (2, 53), (1, 47), (17, 54)}
    for how, parts in (("scene", split_by_scene(whole, found, 0.2, 0)), ("name", split_by_name(whole, 0.2, 0))):
        val = {sample.image_path for sample in parts["val"].samples}
        side = np.array([path in val for path in paths])
        apart = (side[:, None] != side)[upper][same].mean()
        print(f"by {how}: {apart:.3f} of the pairs of one known scene come apart")
        assert apart < (0.15 if how == "scene" else 0.4)
