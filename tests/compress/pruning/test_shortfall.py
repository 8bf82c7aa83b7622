"""What a cut that falls short of its share says."""

from __future__ import annotations

import pytest

from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import randomise
from compress.darknet.topologies import yolov3_cfg
from compress.pruning import PruneOptions, channel_groups, prune
from compress.pruning.shortfall import held_by


@pytest.fixture(scope="module")
def network() -> DarknetNetwork:
    """YOLOv3 in full depth and an eighth of its width."""
    return randomise(DarknetNetwork(yolov3_cfg(6, (64, 64), 0.125)))


@pytest.mark.parametrize(
    ("options", "held"),
    [
        (PruneOptions(channels=0.5, blocks=2), None),
        (PruneOptions(channels=0.0), None),
        (PruneOptions(target_params=500_000), None),
        (PruneOptions(channels=0.999), "every layer is at its smallest width (min_channels 4, min_share 1%)"),
        (PruneOptions(channels=0.8, width_multiple=16), "(min_channels 4, min_share 1%, width_multiple 16)"),
        (PruneOptions(channels=0.5, method="slimming"), "a channel stays that any layer of its group keeps"),
    ],
)
def test_the_share_cut_and_what_held_it_are_told(
    options: PruneOptions, held: str | None, network: DarknetNetwork
) -> None:
    """The share is counted from the network that came out; the reason is there just where it is below the one asked."""
    result = prune(network, options)
    report, gone = result.report, {conv for block in result.removed_blocks for conv in block.layers}
    prunable = {conv for group in channel_groups(network.cfg) if group.prunable for conv in group.members} - gone
    rows = [row for row in report.layers if row.layer in prunable]
    share = 1 - sum(row.channels_after for row in rows) / sum(row.channels_before for row in rows)
    assert report.channels_removed_share == pytest.approx(share)
    assert report.channels_asked_share == (None if options.has_target else options.channels)
    if held is None:
        assert report.channels_held_by is None and "asked for" not in report.summary()
    else:
        assert share < options.channels and held in report.summary() and report.channels_held_by in report.summary()


def test_a_network_without_a_channel_to_cut_says_so() -> None:
    """Whatever the share."""
    assert held_by(PruneOptions(), None) == "no layer of this network can lose channels"
