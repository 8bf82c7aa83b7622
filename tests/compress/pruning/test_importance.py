"""What is lost with a channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from compress.darknet.cfg import parse_cfg
from compress.darknet.topologies import yolov3_cfg
from compress.pruning.groups import ChannelGroup
from compress.pruning.importance import border_shares, channel_importance, strongest_first, unit_sums, worth
from compress.pruning.testing import with_scales


@pytest.mark.parametrize(("size", "stride", "pad"), [(1, 1, 1), (3, 1, 1), (3, 2, 1), (5, 1, 1), (3, 1, 0)])
@pytest.mark.parametrize("input_hw", [(7, 9), (8, 8), (2, 2)])
def test_border_is_where_a_constant_does_not_reach_all_taps(
    size: int, stride: int, pad: int, input_hw: tuple[int, int]
) -> None:
    """The share equals that of outputs that differ when ones, padded with zeros, are summed up."""
    if not pad and min(input_hw) < size:
        return
    text = f"[net]\nheight={input_hw[0]}\nwidth={input_hw[1]}\n[convolutional]\nfilters=2\nactivation=leaky\n"
    text += "[route]\nlayers=-1\n"  # whatever lies between
    text += f"[convolutional]\nfilters=1\nsize={size}\nstride={stride}\npad={pad}\nactivation=leaky\n"
    padding = size // 2 if pad else 0
    sums = conv2d(torch.ones(1, 1, *input_hw), torch.ones(1, 1, size, size), stride=stride, padding=padding)
    expected = float((sums < size**2).float().mean())
    assert border_shares(parse_cfg(text, "x")) == {0: pytest.approx(expected), 2: 0.0}


def test_border_shares_of_yolov3() -> None:
    """What a 3x3 convolution reads at 19x19 has a fifth of it at the border; what only 1x1 ones read has none."""
    shares = border_shares(yolov3_cfg(6, (608, 608)))
    assert shares[75] == pytest.approx(72 / 361)
    assert shares[80] == 0.0  # the head reads it
    assert shares[0] == shares[3] == pytest.approx(1 - (303 / 304) ** 2) or shares[0] < shares[3] < 0.02


def test_a_channel_counts_its_gamma_and_the_constant_that_a_border_keeps() -> None:
    """|gamma|, and the border's share of |act(beta)|, which the slope makes small below zero."""
    network = with_scales(yolov3_cfg(6, (608, 608), 0.125))
    with torch.no_grad():
        network.batch_norm(75).weight[:3] = torch.tensor([-0.5, 0.0, 0.0])
        network.batch_norm(75).bias[:3] = torch.tensor([0.0, 2.0, -2.0])
    importance = channel_importance(network, [75])[75][:3]
    np.testing.assert_allclose(importance, [0.5, 2 * 72 / 361, 0.2 * 72 / 361])


def test_units_count_all_members_and_parts() -> None:
    """A unit's importance is the sum over every channel that goes with it."""
    group = ChannelGroup("conv 0+1", (0, 1), 4, True, parts=2)
    np.testing.assert_array_equal(
        unit_sums(group, [np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, 40])]), [44.0, 66.0]
    )
    assert unit_sums(group, []).tolist() == [0.0, 0.0]


def test_of_equal_channels_the_larger_shift_stays() -> None:
    """Importance decides, then |beta|, then the order."""
    order = strongest_first(np.array([1.0, 0.0, 0.0, 2.0, 0.0]), np.array([0.0, 0.0, 3.0, 0.0, 0.0]))
    assert order.tolist() == [3, 0, 2, 1, 4]


def test_worth_falls_by_what_is_lost_and_faster_as_less_is_left() -> None:
    """At the whole width by the importance itself, at a quarter of it by sixteen times as much; 0 of a dead group."""
    full = 8.0
    for left, factor in ((full, 1), (full / 2, 4), (full / 4, 16)):
        more, less = worth(np.array([left, left - 1e-6]), full)
        assert more - less == pytest.approx(factor * 1e-6, rel=1e-3)
    assert worth(np.zeros(3), 0.0).tolist() == [0.0, 0.0, 0.0]
    assert worth(np.zeros(1), full) == -np.inf
