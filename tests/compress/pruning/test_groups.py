"""Which channels are tied, and where every layer's channels come from."""

from __future__ import annotations

import pytest

from compress.darknet.cfg import parse_cfg
from compress.darknet.topologies import yolov3_cfg, yolov3_tiny_cfg
from compress.pruning import channel_groups
from compress.pruning.groups import Segment, layer_channels

NET = "[net]\nwidth=32\nheight=32\n"


def conv(filters: int, normalised: int = 1) -> str:
    """A 1x1 convolution's section."""
    return f"[convolutional]\nfilters={filters}\nactivation=leaky\nbatch_normalize={normalised}\n"


def prunable_names(text: str) -> list[str]:
    """The prunable groups of a cfg."""
    return [group.name for group in channel_groups(parse_cfg(NET + text, "x")) if group.prunable]


def test_yolov3_has_five_tied_groups() -> None:
    """23 shortcuts tie 28 convolutions in groups of 2, 3, 9, 9 and 5; all but the heads may be pruned."""
    groups = channel_groups(yolov3_cfg(6, (608, 608)))
    assert [len(group.members) for group in groups if len(group.members) > 1] == [2, 3, 9, 9, 5]
    assert sum(len(group.members) for group in groups) == 75
    assert sum(len(group.members) * group.channels for group in groups if group.prunable) == 26_304
    assert [group.members for group in groups if not group.prunable] == [(81,), (93,), (105,)]


def test_tiny_ties_nothing() -> None:
    """Without shortcuts every convolution is its own group, those before upsampling and pooling too."""
    groups = channel_groups(yolov3_tiny_cfg(6, (64, 64)))
    assert all(len(group.members) == 1 for group in groups)
    assert [group.members[0] for group in groups if not group.prunable] == [15, 22]


def test_shortcuts_tie_through_routes_and_pooling() -> None:
    """A shortcut's far end is followed back to the convolutions, side by side ones pair by pair."""
    text = conv(4) + conv(6) + "[route]\nlayers=0,1\n" + conv(4) + conv(6) + "[route]\nlayers=3,4\n"
    text += "[maxpool]\nsize=3\nstride=1\n[shortcut]\nfrom=2\n"
    assert prunable_names(text) == ["conv 0+3", "conv 1+4"]


def test_channels_added_across_places_stay() -> None:
    """Where a shortcut adds channels of different places, the convolutions keep all of them."""
    crossed = conv(4) + conv(6) + "[route]\nlayers=0,1\n[route]\nlayers=1,0\n[shortcut]\nfrom=2\n" + conv(5)
    assert prunable_names(crossed) == ["conv 5"]
    halves = conv(8) + conv(4) + "[route]\nlayers=0\ngroups=2\n[shortcut]\nfrom=1\n" + conv(5)
    assert prunable_names(halves) == ["conv 4"]


def test_parts_of_a_divided_convolution_are_tied() -> None:
    """Where routes take a half and a quarter, channels go four at a time; what is divided across places stays."""
    text = conv(16) + "[route]\nlayers=0\ngroups=2\n[route]\nlayers=0\ngroups=4\ngroup_id=3\n" + conv(5)
    (divided, single) = channel_groups(parse_cfg(NET + text, "x"))
    assert (divided.prunable, divided.parts, divided.units) == (True, 4, 4)
    assert (single.parts, single.units) == (1, 5)
    across = conv(4) + conv(4) + "[route]\nlayers=0,1\n[route]\nlayers=-1\ngroups=2\n" + conv(5)
    assert prunable_names(across) == ["conv 4"]
    again = conv(8) + "[route]\nlayers=0\ngroups=2\n[route]\nlayers=-1\ngroups=2\n" + conv(5)
    assert prunable_names(again) == ["conv 3"]


def test_tied_convolutions_have_parts_together() -> None:
    """A shortcut passes the parts on to all it ties."""
    text = conv(8) + conv(8) + "[shortcut]\nfrom=0\n" + "[route]\nlayers=0\ngroups=2\n" + conv(5)
    group = channel_groups(parse_cfg(NET + text, "x"))[0]
    assert (group.members, group.parts, group.prunable) == ((0, 1), 2, True)


@pytest.mark.parametrize(
    "text",
    [
        conv(4) + "[reorg]\nstride=2\n" + conv(5),
        conv(4) + conv(8).replace("filters", "groups=2\nfilters") + conv(5),
        conv(4) + conv(4) + "[shortcut]\nfrom=0\nactivation=logistic\n" + conv(5),
        conv(4).replace("leaky", "logistic") + conv(5),
    ],
    ids=["reorg", "groups of a convolution", "logistic sum", "logistic"],
)
def test_channels_that_cannot_be_taken_out_stay(text: str) -> None:
    """Channels mixed with others, in groups of a convolution, or that nothing silences; others may go."""
    last = text.count("[") - 1
    assert prunable_names(text) == [f"conv {last}"]


def test_one_member_without_normalisation_holds_its_group() -> None:
    """A tied convolution without gammas, and the network's input, keep the whole group."""
    assert prunable_names(conv(4) + conv(4, 0) + "[shortcut]\nfrom=0\n" + conv(5)) == ["conv 3"]
    assert prunable_names("[maxpool]\nsize=3\nstride=1\n" + conv(3) + "[shortcut]\nfrom=0\n" + conv(5)) == ["conv 3"]


def test_segments_follow_groups_and_concatenation() -> None:
    """A route's channels are its inputs' in order, with groups the asked part of each."""
    text = conv(4) + conv(6) + "[route]\nlayers=0,1\n[route]\nlayers=2\ngroups=2\ngroup_id=1\n"
    assert layer_channels(parse_cfg(NET + text, "x"))[2:] == [
        (Segment(0, 0, 4), Segment(1, 0, 6)),
        (Segment(1, 1, 6),),
    ]
