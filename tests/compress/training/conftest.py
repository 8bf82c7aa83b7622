"""A small network and a few small road scenes."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch

from board_app.core.road_scenes import ROAD_CLASSES, render_scene
from compress.config import AugmentConfig
from compress.darknet.cfg import parse_cfg
from compress.darknet.network import DarknetNetwork
from compress.data.dataset import Sample
from compress.training.loader import TrainingImages

SIZE_HW = (64, 96)


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


def small_network(classes: int = len(ROAD_CLASSES)) -> DarknetNetwork:
    """Two stages of three residual blocks each, two heads, the second through an upsampling and a route."""
    torch.manual_seed(0)
    made = DarknetNetwork(parse_cfg(small_cfg_text(classes), "small"))
    made.init_heads()
    return made


def small_cfg_text(classes: int) -> str:
    """The cfg of `small_network`."""

    def conv(filters: int, size: int, stride: int = 1) -> str:
        shape = f"filters={filters}\nsize={size}\nstride={stride}\npad=1"
        return f"[convolutional]\nbatch_normalize=1\n{shape}\nactivation=leaky\n"

    def head(mask: str) -> str:
        raw = f"[convolutional]\nfilters={3 * (5 + classes)}\nsize=1\nstride=1\npad=1\nactivation=linear\n"
        return raw + f"[yolo]\nmask={mask}\nanchors=8,8, 16,6, 20,20, 40,12, 60,30, 90,40\nclasses={classes}\nnum=6\n"

    block = conv(8, 1) + conv(16, 3) + "[shortcut]\nfrom=-3\nactivation=linear\n"
    stages = conv(8, 3, 2) + conv(16, 3, 2) + 3 * block + conv(16, 3, 2) + 3 * block
    heads = conv(16, 3, 2) + head("3,4,5") + "[route]\nlayers=-3\n" + conv(8, 1) + "[upsample]\nstride=2\n"
    heads += "[route]\nlayers=-1,20\n" + conv(16, 3) + head("0,1,2")
    height, width = SIZE_HW
    return f"[net]\nwidth={width}\nheight={height}\nchannels=3\nleaky_slope=0.1015625\n" + stages + heads


@pytest.fixture
def network() -> DarknetNetwork:
    return small_network()
