"""What is chosen to go."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from board_app.core.errors import InputError, UsageError
from compress.darknet.cost import gmacs, parameter_count
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import randomise
from compress.darknet.topologies import yolov3_cfg, yolov3_tiny_cfg
from compress.pruning import PruneOptions, Selection, channel_groups, removable_blocks, select
from compress.pruning.selection import selected_cfg
from compress.pruning.testing import silence_cut


@pytest.fixture(scope="module")
def yolov3() -> DarknetNetwork:
    """The full topology at an eighth of the width."""
    return randomise(DarknetNetwork(yolov3_cfg(6, (64, 64), 0.125)))


def removed_share(network: DarknetNetwork, selection: Selection) -> float:
    """Removed channels of prunable groups outside removed blocks, as a share."""
    gone = {conv for block in selection.removed_blocks for conv in block.layers}
    kept = [
        selection.kept[conv]
        for group in channel_groups(network.cfg)
        if group.prunable
        for conv in group.members
        if conv not in gone
    ]
    return 1 - sum(int(mask.sum()) for mask in kept) / sum(len(mask) for mask in kept)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.7])
@pytest.mark.parametrize("blocks", [0, 8])
def test_the_share_is_what_was_asked_for(share: float, blocks: int, yolov3: DarknetNetwork) -> None:
    """At least the share goes, and at most one tied channel more."""
    selection = select(yolov3, PruneOptions(channels=share, blocks=blocks, min_channels=1))
    assert share <= removed_share(yolov3, selection) + 1e-9 <= share + 9 / 2000
    assert len(selection.removed_blocks) == blocks


def test_the_weakest_go_whatever_their_layer() -> None:
    """With free layers, what goes are exactly the smallest |gamma| of the whole network."""
    network = randomise(DarknetNetwork(yolov3_tiny_cfg(6, (64, 64), 0.25)))
    selection = select(network, PruneOptions(channels=0.4, min_share=0.0, min_channels=1))
    gammas = {
        conv: network.batch_norm(conv).weight.detach().abs().numpy()
        for conv in range(23)
        if getattr(network.layers[conv], "bn", None) is not None
    }
    threshold = max(gammas[conv][~selection.kept[conv]].max(initial=0) for conv in gammas)
    for conv, gamma in gammas.items():
        assert gamma[selection.kept[conv]].min() > threshold or selection.kept[conv].sum() == 1


def test_ties_and_exact_zeros_are_cut_by_rank(yolov3: DarknetNetwork) -> None:
    """With every gamma equal, or most of them zero, the share still holds, and zeros go before anything else."""
    equal = DarknetNetwork(yolov3.cfg)
    assert removed_share(equal, select(equal, PruneOptions(channels=0.6, min_channels=1))) == pytest.approx(
        0.6, abs=5e-3
    )
    sparse = randomise(DarknetNetwork(yolov3.cfg), share_zero=0.8)
    selection = select(sparse, PruneOptions(channels=0.5, min_channels=1))
    assert removed_share(sparse, selection) == pytest.approx(0.5, abs=5e-3)
    for conv in (2, 6, 75, 96):  # tied with no other
        gamma = sparse.batch_norm(conv).weight.detach().numpy()
        assert not gamma[~selection.kept[conv]].any()


def test_tied_layers_keep_the_same_channels(yolov3: DarknetNetwork) -> None:
    """Members of a group have one mask, chosen by the mean of their gammas."""
    selection = select(yolov3, PruneOptions(channels=0.5))
    for group in channel_groups(yolov3.cfg):
        masks = [selection.kept[conv] for conv in group.members]
        assert all(np.array_equal(mask, masks[0]) for mask in masks)
        score = np.mean(
            [yolov3.batch_norm(conv).weight.detach().abs().numpy() for conv in group.members if group.prunable]
            or [np.ones(group.channels)],
            axis=0,
        )
        if not masks[0].all():
            assert score[masks[0]].min() >= score[~masks[0]].max()


@pytest.mark.parametrize("share", [0.999, 1.0])
def test_every_layer_keeps_its_minimum(share: float, yolov3: DarknetNetwork) -> None:
    """However much is asked for, min_channels and min_share hold in every layer and no layer is empty."""
    options = PruneOptions(channels=share, blocks=23, min_share=0.05, min_channels=3)
    selection = select(yolov3, options)
    for conv, width in selection.widths.items():
        full = len(selection.kept[conv])
        assert width == full or width == max(3, -(-full * 5 // 100))
    assert parameter_count(selected_cfg(yolov3.cfg, selection)[0]) < 10_000


@pytest.mark.parametrize("multiple", [3, 4, 8, 16])
@pytest.mark.parametrize("min_share", [0.01, 0.3])
def test_kept_widths_are_multiples(multiple: int, min_share: float, yolov3: DarknetNetwork) -> None:
    """Widths are multiples or whole, not below the smallest; still the share goes, to within one step of a group."""
    selection = select(yolov3, PruneOptions(channels=0.4, width_multiple=multiple, min_share=min_share))
    for group in channel_groups(yolov3.cfg):
        width = selection.widths[group.members[0]]
        assert width == group.channels or (width % multiple == 0 and width >= min_share * group.channels)
    largest = max(len(group.members) for group in channel_groups(yolov3.cfg) if group.prunable) * multiple
    total = sum(len(selection.kept[conv]) for g in channel_groups(yolov3.cfg) if g.prunable for conv in g.members)
    assert 0.4 <= removed_share(yolov3, selection) <= 0.4 + largest / total


def test_blocks_with_the_weakest_second_convolution_go() -> None:
    """Blocks are ranked by the mean |gamma| before their shortcut, whatever the channels' share."""
    network = randomise(DarknetNetwork(yolov3_cfg(6, (64, 64), 0.125)))
    blocks = removable_blocks(network.cfg)
    with torch.no_grad():
        for block in (blocks[3], blocks[17], blocks[20]):
            network.batch_norm(block.second_conv).weight.mul_(0.01)
    for share in (0.0, 0.85):
        selection = select(network, PruneOptions(channels=share, blocks=3))
        assert selection.removed_blocks == (blocks[3], blocks[17], blocks[20])
        assert not any(selection.kept[conv].any() for block in blocks[3:4] for conv in block.layers[:2])


@pytest.mark.parametrize("multiple", [1, 8])
def test_choosing_again_after_silencing_takes_nothing_alive(multiple: int, yolov3: DarknetNetwork) -> None:
    """Once the chosen gammas and betas are zero, the same options choose among them alone, and nearly all of them."""
    network = randomise(DarknetNetwork(yolov3.cfg))
    options = PruneOptions(channels=0.6, blocks=5, width_multiple=multiple)
    selection = select(network, options)
    silence_cut(network, selection)
    again = select(network, options)
    assert again.removed_blocks == selection.removed_blocks
    assert not any((kept & ~again.kept[conv]).any() for conv, kept in selection.kept.items())
    # a tied channel counts for all its members, so the last step may not be needed in another order
    assert sum((again.kept[conv] & ~kept).sum() for conv, kept in selection.kept.items()) < 9 * multiple


def test_targets_are_reached_and_hardly_passed(yolov3: DarknetNetwork) -> None:
    """The parameters and GMACs asked for are reached with the fewest channels cut."""
    before = parameter_count(yolov3.cfg)
    cut, _ = selected_cfg(yolov3.cfg, select(yolov3, PruneOptions(target_params=before // 4)))
    assert 0.95 * before / 4 < parameter_count(cut) <= before // 4
    wanted = gmacs(yolov3.cfg) / 3
    cut, _ = selected_cfg(yolov3.cfg, select(yolov3, PruneOptions(target_gmacs=wanted, blocks=4)))
    assert 0.9 * wanted < gmacs(cut) <= wanted
    untouched, _ = selected_cfg(yolov3.cfg, select(yolov3, PruneOptions(target_params=before)))
    assert untouched == yolov3.cfg


def test_what_cannot_be_had_is_refused(yolov3: DarknetNetwork) -> None:
    """Too many blocks, a target below the smallest widths and values out of range say what would do."""
    with pytest.raises(InputError, match="found 23. Ask for at most 23"):
        select(yolov3, PruneOptions(blocks=24))
    with pytest.raises(InputError, match="expected to reach 100 parameters"):
        select(yolov3, PruneOptions(target_params=100))
    for wrong in (
        {"channels": 1.5},
        {"channels": float("nan")},
        {"blocks": -1},
        {"min_channels": 0},
        {"width_multiple": 0},
        {"prefer": "size"},
        {"prefer": "accuracy", "target_ms": 1.0},
        {"target_params": 0},
    ):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            PruneOptions(**wrong)
