"""The limits of the DPU's shifters, on the smallest network that shows each."""

from __future__ import annotations

import pytest

from compress.darknet.cfg import parse_cfg
from compress.quantization.fix_points import FixPoints, limit_shifts
from compress.quantization.plan import Plan, plan_of


def plan(text: str) -> Plan:
    """The plan of a cfg text with one head."""
    cfg = parse_cfg(text, "net")
    return plan_of(cfg, tuple(i - 1 for i, section in enumerate(cfg.layers) if section.type == "yolo"))


@pytest.mark.parametrize(
    ("i", "w", "b", "o", "expected"),
    [
        (7, 8, 8, 5, (8, 8, 5)),  # within the limits
        (2, 3, 5, 9, (3, 5, 5)),  # cut -4: the output comes down to w + i
        (12, 12, 12, 5, (9, 12, 5)),  # cut 19: the weight comes down by 3
        (12, 12, 3, 8, (7, 3, 8)),  # cut 16; bias 21 > 16: the weight comes down by 5
        (0, 2, 12, 2, (2, 12, 2)),  # bias -10 within -(24 - 8 - 0) = -16
        (-4, 4, 20, 0, (4, 16, 0)),  # bias -20 below -16: the bias comes down by 4
        (6, 10, 20, 0, (10, 16, 0)),  # cut 16: the bias may not be finer than the sum
    ],
)
def test_shift_limits(
    cfg_texts: dict[str, str], i: int, w: int, b: int, o: int, expected: tuple[int, int, int]
) -> None:
    """Cut 0..16 moves output or weight; the bias shift, measured with the old cut, moves bias or weight."""
    found = plan("[net]\nwidth=32\nheight=32\nchannels=3\n" + cfg_texts["spp"][cfg_texts["spp"].rindex("[convol") :])
    limited = limit_shifts(found, FixPoints({0: i, 1: o}, {1: w}, {1: b}))
    assert (limited.weights[1], limited.biases[1], limited.outputs[1]) == expected


def test_lowered_output_counts_for_the_next_layer(cfg_texts: dict[str, str]) -> None:
    """A convolution that only a concatenation reads lowers the concatenation's fix point, and the reader sees it."""
    found = plan(cfg_texts["corners"])
    index = {node.layer: node.index for node in found.nodes}
    outputs = {node.index: 6 for node in found.nodes if found.has_fix_point(node)}
    weights = {node.index: 8 for node in found.convolutions} | {index[4]: -3}
    limited = limit_shifts(found, FixPoints(outputs, weights, dict.fromkeys(weights, 6)))
    assert limited.outputs[index[5]] == 3  # the concatenation
    assert outputs[index[5]] == 6  # what was found is not changed


def test_upsample_takes_its_inputs_fix_point(cfg_texts: dict[str, str]) -> None:
    """A nearest upsample that no concatenation reads is aligned to its input."""
    found = plan(cfg_texts["corners"])
    index = {node.layer: node.index for node in found.nodes}
    outputs = {node.index: 6 for node in found.nodes if found.has_fix_point(node)} | {index[8]: 4}
    weights = {node.index: 8 for node in found.convolutions}
    limited = limit_shifts(found, FixPoints(outputs, weights, dict.fromkeys(weights, 6)))
    assert limited.outputs[index[8]] == 6
