"""A small network and a few small road scenes."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch

from board_app.core.road_scenes import render_scene
from compress.config import AugmentConfig
from compress.darknet.cfg import read_cfg
from compress.darknet.network import DarknetNetwork
from compress.data.dataset import Sample
from compress.training.loader import TrainingImages

SIZE_HW = (64, 96)
SMALL_CFG = Path(__file__).parents[1] / "small.cfg"


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder: Path = tmp_path_factory.mktemp("scenes")
    made = []
    for seed in range(12):
        scene = render_scene(seed, SIZE_HW)
        path = folder / f"{seed}.png"
        cv2.imwrite(str(path), scene.image_bgr)
        made.append(Sample(path, scene.boxes_xyxy, scene.class_id))
    return made


@pytest.fixture
def images(samples: list[Sample]) -> TrainingImages:
    return TrainingImages(samples, SIZE_HW, AugmentConfig(), seed=3)


@pytest.fixture
def network() -> DarknetNetwork:
    """Two stages of three residual blocks each, two heads, the second through an upsampling and a route."""
    torch.manual_seed(0)
    made = DarknetNetwork(read_cfg(SMALL_CFG))
    made.init_heads()
    return made
