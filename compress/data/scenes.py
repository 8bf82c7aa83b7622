"""Synthetic road scenes as a YOLO dataset, deterministic by seed whatever the number of processes."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from board_app.core import road_scenes
from board_app.core.errors import InputError, UsageError
from board_app.core.road_scenes import ROAD_CLASSES, ROAD_LABELS, render_scene
from compress.data.dataset import Dataset
from compress.data.layout import DATASET_FILE, find_layout
from compress.data.progress import tracked
from compress.data.whole_folder import check_free, whole_folder
from compress.data.writing import label_text, write_dataset_file

ORIGIN = "synthetic road scenes"
SPLITS = ("train", "val", "test")
LARGEST_SPLIT = 1_000_000  # what keeps the seeds of all splits and sets apart
JPEG_QUALITY = 95

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class SceneSet:
    """What a set of scenes follows from.

    Attributes:
        seed: 0 or more; two sets of different seeds share no scene.
        images: of train, val and test.
        size_hw: height and width of every picture in pixels.
    """

    seed: int
    images: tuple[int, int, int]
    size_hw: tuple[int, int] = (320, 448)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"expected a seed of 0 or more, found {self.seed}. Give another --seed")
        if not all(1 <= count <= LARGEST_SPLIT for count in self.images):
            raise UsageError(f"expected 1 to {LARGEST_SPLIT} images a split, found {self.images}. Give other counts")
        if not all(64 <= side <= 4096 for side in self.size_hw):
            raise UsageError(f"expected 64 to 4096 pixels a side, found {self.size_hw}. Give another --size")

    def scene_seed(self, split: str, index: int) -> int:
        """The seed of one scene: different for every set, split and index."""
        return (self.seed * len(SPLITS) + SPLITS.index(split)) * LARGEST_SPLIT + index

    def parameters(self) -> dict[str, Any]:
        """What tells two sets apart, the code that draws them included."""
        return {
            "seed": self.seed,
            "images": dict(zip(SPLITS, self.images, strict=True)),
            "size_hw": list(self.size_hw),
            "jpeg_quality": JPEG_QUALITY,
            "generator": generator_id(),
        }


def generator_id() -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the code that draws roads."""
    digest = hashlib.sha256()
    for path in sorted(Path(road_scenes.__file__).parent.glob("road_*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def make_scenes(folder: Path, scenes: SceneSet, processes: int, replace: bool = False) -> bool:
    """Render the set into a new dataset folder; false when the very same set is there already.

    Args:
        folder: where the dataset goes; nothing is there until it is whole.
        scenes: what to render.
        processes: how many render at once.
        replace: whether another set of scenes at `folder` may go.

    Raises:
        UsageError: something else is at `folder`.
    """
    there = _parameters_of(folder)
    if there == scenes.parameters():
        return False
    if there is None or not replace:
        _refuse_other(folder, scenes, there)
    jobs = [
        _Job(scenes.scene_seed(split, index), scenes.size_hw, f"{split}/{index:06d}")
        for split, count in zip(SPLITS, scenes.images, strict=True)
        for index in range(count)
    ]
    with whole_folder(folder, replace=there is not None) as partial:
        for split, count in zip(SPLITS, scenes.images, strict=True):
            (partial / "images" / split).mkdir(parents=True)
            (partial / "labels" / split).mkdir(parents=True)
            listing = "".join(f"images/{split}/{index:06d}.jpg\n" for index in range(count))
            (partial / f"{split}.txt").write_text(listing, encoding="utf-8")
        for _ in tracked(_rendered(partial, jobs, processes), len(jobs), "road scenes"):
            pass
        described = Dataset(folder.resolve().name, partial, ROAD_CLASSES, (), tuple(ROAD_LABELS), ORIGIN)
        write_dataset_file(partial, described, "yolo", {name: f"{name}.txt" for name in SPLITS}, scenes.parameters())
    return True


@dataclass(frozen=True)
class _Job:
    seed: int
    size_hw: tuple[int, int]
    name: str


def _parameters_of(folder: Path) -> dict[str, Any] | None:
    """What made the scenes at `folder`; None where there are no scenes."""
    if not (folder / DATASET_FILE).is_file():
        return None
    try:
        layout = find_layout(folder)
    except InputError:
        return None  # someone else's file: treated as anything else that is in the way
    return layout.parameters if layout.origin == ORIGIN and layout.parameters else None


def _refuse_other(folder: Path, scenes: SceneSet, there: dict[str, Any] | None) -> None:
    if there is None:
        check_free(folder)
        return
    wanted = scenes.parameters()
    different = ", ".join(key for key in wanted if there.get(key) != wanted[key])
    raise UsageError(
        f"{folder}: expected nothing or the same scenes, found scenes of another {different}. "
        "Add --replace, or name another folder"
    )


def _rendered(folder: Path, jobs: list[_Job], processes: int) -> Iterator[str]:
    """Render all jobs; the name of each when it is done."""
    if processes == 1:
        for job in jobs:
            yield _render(folder, job)
        return
    context = multiprocessing.get_context("spawn")  # fork is unsafe once any thread runs
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker) as pool:
        try:
            yield from pool.map(_render, [folder] * len(jobs), jobs, chunksize=8)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start_worker() -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave at once when the parent is gone, killed or not: a worker must not go on alone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _render(folder: Path, job: _Job) -> str:
    scene = render_scene(job.seed, job.size_hw)
    encoded = cv2.imencode(".jpg", scene.image_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    (folder / "images" / f"{job.name}.jpg").write_bytes(encoded.tobytes())
    text = label_text(scene.boxes_xyxy, scene.class_id, job.size_hw)
    (folder / "labels" / f"{job.name}.txt").write_text(text, encoding="utf-8")
    return job.name
