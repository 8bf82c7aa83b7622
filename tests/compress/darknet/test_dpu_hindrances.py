"""What of a network the DPU lacks, with line and remedy."""

from __future__ import annotations

import logging

import pytest

from compress.darknet.cfg import parse_cfg
from compress.darknet.dpu_hindrances import dpu_hindrances, told, warn_of_hindrances
from compress.darknet.testing import MORE, random_cfg
from compress.darknet.testing_families import FAMILIES, family_cfg
from compress.darknet.topologies import yolov3_cfg

NET = "[net]\nwidth=32\nheight=32\nleaky_slope=0.1015625\n"
CONV = "[convolutional]\nfilters=8\nsize=3\npad=1\nactivation=leaky\nbatch_normalize=1\n"


def test_a_network_for_the_dpu_has_none() -> None:
    """YOLOv3 with the DPU's slope runs whole."""
    assert dpu_hindrances(yolov3_cfg(6, (416, 416), leaky_slope=26 / 256)) == []


@pytest.mark.parametrize("name", FAMILIES)
def test_of_the_families_only_reorg_is_in_the_way(name: str) -> None:
    """The slope is told once and goes into int8; YOLOv2's reorg does not."""
    found = dpu_hindrances(family_cfg(name, 3, 416, 416))
    assert [hindrance.section for hindrance in found if not hindrance.quantises] == (
        ["reorg"] if name == "yolov2" else []
    )
    assert [hindrance.quantises for hindrance in found if "leaky slope" in hindrance.lacks] == [True]


@pytest.mark.parametrize(
    ("section", "lacks", "instead", "quantises"),
    [
        (CONV.replace("leaky", "mish"), "has no mish", "activation=leaky", False),
        (CONV.replace("leaky", "swish"), "has no swish", "activation=leaky", False),
        (CONV.replace("activation=leaky\n", ""), "has no logistic", "activation=leaky", False),
        (CONV.replace("leaky", "relu6"), "makes relu of it", "activation=relu", False),
        (CONV + "groups=2\n", "no convolution in 2 groups", "without groups", False),
        (CONV.replace("size=3", "size=17"), "kernel [17, 17], possible is 1 to 16", "its sizes", True),
        (CONV + "stride=9\n", "stride [9, 9], possible is 1 to 8", "its sizes", True),
        (CONV.replace("=8", "=4097"), "has 4097 channels out, the most is 4096", "its sizes", True),
        ("[maxpool]\nsize=33\nstride=1\n", "left and top padding [16, 16]", "its sizes", True),
        ("[shortcut]\nfrom=-2\nactivation=leaky\n", "before its leaky", "activation=linear", False),
        ("[reorg]\nstride=2\n", "in Darknet's order", "maxpool", False),
        ("[upsample]\nscale=0.5\n", "scale=0.5", "Leave 'scale' out", False),
        ("[route]\nlayers=-1,-2\ngroups=2\n", "one layer at a time", "for each layer", False),
    ],
)
def test_each_is_told_with_its_line(section: str, lacks: str, instead: str, quantises: bool) -> None:
    """The section's line, what the DPU lacks, what to use instead; sizes beyond the limits are the compiler's."""
    text = NET + CONV + CONV + section
    (found,) = dpu_hindrances(parse_cfg(text, "x"))
    assert (found.layer, found.line) == (2, 17)
    assert lacks in found.lacks and instead in found.instead
    assert found.quantises == quantises
    assert told([found]) == [f"line 17, {section.split()[0]}: the DPU {found.lacks}. {found.instead}"]


def test_a_part_of_one_layer_is_none() -> None:
    """The DPU moves a slice of a map."""
    assert dpu_hindrances(parse_cfg(NET + CONV + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n", "x")) == []


def test_they_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One warning for each kind, with the cfg's name and all lines; any cfg can be looked at."""
    mish = CONV.replace("leaky", "mish")
    with caplog.at_level(logging.WARNING):
        warn_of_hindrances(parse_cfg(NET + mish + CONV + mish + "[reorg]\nstride=2\n", "x.cfg"))
    first, second = caplog.messages
    assert first.startswith("x.cfg, lines 5, 17, [convolutional]: the DPU has no mish. Train with")
    assert second.startswith("x.cfg, line 23, [reorg]: the DPU cannot")
    for seed in range(20):
        cfg = random_cfg(seed, 20, more=MORE)
        lines = [hindrance.line for hindrance in dpu_hindrances(cfg)]
        assert lines == sorted(lines) and set(lines) <= {section.line for section in cfg.layers}
