"""A run so small that every stage takes a second or two."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest

from board_app.core.road_scenes import ROAD_CLASSES, render_scene
from compress.config import load_config

SMALL_RUN = """
name: small
data: {data}
runs: {runs}
threads: 1
network: {{cfg: {cfg}, input_hw: [64, 96]}}
train: {{epochs: 3, batch_size: 4, evaluate_every: 3}}
sparsify: {{epochs: 4, batch_size: 4, evaluate_every: 4}}
prune: {{channels: 50%, blocks: 2}}
distill: {{epochs: 2, batch_size: 4, evaluate_every: 2}}
quantize: {{images: 8, batch_size: 4, fine_tune: {{epochs: 2, batch_size: 4}}}}
"""
SMALL_CFG = Path(__file__).with_name("small.cfg")


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen road scenes as a YOLO folder."""
    root = tmp_path_factory.mktemp("data")
    (root / "images").mkdir()
    (root / "labels").mkdir()
    for seed in range(16):
        scene = render_scene(seed, (64, 96))
        cv2.imwrite(str(root / "images" / f"{seed:02}.png"), scene.image_bgr)
        lines = []
        for (x0, y0, x1, y1), class_id in zip(scene.boxes_xyxy / [96, 64, 96, 64], scene.class_id, strict=True):
            lines.append(f"{class_id} {(x0 + x1) / 2:.6f} {(y0 + y1) / 2:.6f} {x1 - x0:.6f} {y1 - y0:.6f}\n")
        (root / "labels" / f"{seed:02}.txt").write_text("".join(lines))
    (root / "classes.txt").write_text("\n".join(ROAD_CLASSES) + "\n")
    for split, seeds in (("train", range(12)), ("val", range(12, 16))):
        (root / f"{split}.txt").write_text("".join(f"images/{seed:02}.png\n" for seed in seeds))
    return root


@pytest.fixture
def small_run(small_data: Path, tmp_path: Path):
    """Writes the configuration of a small run in a folder of its own and gives its path."""

    def write(name: str = "run", runs: Path | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        path = folder / "small.yaml"
        path.write_text(SMALL_RUN.format(data=small_data, runs=runs or folder / "runs", cfg=SMALL_CFG))
        return path

    return write


@pytest.fixture(scope="session")
def finished_small_run(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of every stage, made once; tests work on copies (`finished_copy`)."""
    from compress.stages import run_stages

    runs = tmp_path_factory.mktemp("finished")
    path = runs / "small.yaml"
    path.write_text(SMALL_RUN.format(data=small_data, runs=runs, cfg=SMALL_CFG))
    run_stages(load_config(path))
    return runs / "small"


@pytest.fixture
def finished_copy(finished_small_run: Path, small_run) -> Path:
    """The configuration of a run whose folder is a copy of a finished one."""
    path: Path = small_run()
    shutil.copytree(finished_small_run, load_config(path).folder)
    return path
