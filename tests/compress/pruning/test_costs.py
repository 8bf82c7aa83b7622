"""Costs at any width, without building the network."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.darknet.cfg import Cfg, parse_cfg
from compress.darknet.testing import random_cfg
from compress.darknet.topologies import yolov3_cfg, yolov3_tiny_cfg
from compress.pruning.costs import network_costs
from compress.pruning.cut_network import CutNetwork
from compress.pruning.selection import selected_cfg
from compress.pruning.testing import costs, with_scales

DIVIDED = """[net]
width=64
height=32
[convolutional]
batch_normalize=1
filters=32
size=3
pad=1
activation=leaky
[route]
layers=-1
groups=2
group_id=1
[convolutional]
batch_normalize=1
filters=16
size=3
pad=1
activation=leaky
[route]
layers=-1,-2,0
[route]
layers=-2,0
groups=2
[route]
layers=-1,-2
[convolutional]
filters=21
activation=linear
[yolo]
mask=0,1,2
anchors=1,2,3,4,5,6
num=3
classes=2
"""


def cut_at_random(cfg: Cfg, seed: int, board: str = "zcu104") -> None:
    """Cut widths and blocks at random, back and forth, and compare with the cfg that is left each time."""
    rng = random.Random(seed)  # noqa: S311
    network = with_scales(cfg, seed)
    cut = CutNetwork(network, board)
    for _ in range(6):
        for group, tied in enumerate(cut.groups):
            if tied.prunable and cut.readers[group]:
                cut.set_units(group, rng.randint(1, tied.units))
        free = [block for block in cut.blocks if not cut.is_removed(block)]
        if free and rng.random() < 0.5:
            cut.remove(rng.choice(free))
        left, _ = selected_cfg(cfg, cut.selection())
        assert (cut.costs.params, cut.costs.gmacs, cut.costs.ms) == costs(left, board)
        assert cut.costs == network_costs(left, board)
        assert cut.costs_at(cut.units, []) == cut.costs


@given(st.integers(0, 100_000))
@settings(max_examples=30, deadline=None)
def test_costs_are_those_of_the_cut_cfg_to_the_last_bit(seed: int) -> None:
    """Whatever is cut of a random network, costs kept up to date equal those of its cfg, predicted time too."""
    cut_at_random(random_cfg(seed, layers=16), seed)


@pytest.mark.parametrize("board", ["zcu104", "kv260"])
@pytest.mark.parametrize(
    "cfg", [yolov3_cfg(6, (608, 608)), yolov3_tiny_cfg(6, (416, 416)), parse_cfg(DIVIDED, "divided")]
)
def test_costs_of_known_networks(cfg: Cfg, board: str) -> None:
    """The same for YOLOv3, its tiny form, and a network that a route divides, on two boards."""
    cut_at_random(cfg, 1, board)


def test_parts_of_a_route_lose_the_same_channels() -> None:
    """Where a route takes one half, channels go in pairs, one of each half."""
    cfg = parse_cfg(DIVIDED, "divided")
    cut = CutNetwork(with_scales(cfg), "zcu104")
    assert (cut.groups[0].parts, cut.groups[0].units) == (2, 16)
    cut.set_units(0, 5)
    kept = cut.selection().kept[0]
    assert kept.sum() == 10 and (kept[:16] == kept[16:]).all()
