"""The published way of choosing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.darknet.cfg import layer_sources, parse_cfg
from compress.darknet.network import DarknetNetwork
from compress.darknet.topologies import yolov3_cfg
from compress.pruning import PruneOptions, channel_groups, removable_blocks, select
from compress.pruning.testing import costs_after, with_scales


def published(network: DarknetNetwork, percent: float, layer_keep: float) -> dict[int, np.ndarray]:
    """The masks by the published steps: a threshold's value, then chains of shortcuts from the last back."""
    cfg, masks = network.cfg, {}
    scales = {
        index: network.batch_norm(index).weight.detach().abs().numpy()
        for index, section in enumerate(cfg.layers)
        if section.type == "convolutional" and section.integer("batch_normalize", 0)
    }
    prunable = [index for index in scales if cfg.layers[index + 1].type != "upsample"]
    ranked = np.sort(np.concatenate([scales[index] for index in prunable]))
    threshold = ranked[int(len(ranked) * percent)]
    for index, scale in scales.items():
        masks[index] = scale > threshold if index in prunable else np.ones(len(scale), bool)
        least = max(1, int(len(scale) * layer_keep))
        if masks[index].sum() < least:
            masks[index][np.argsort(scale)[::-1][:least]] = True
    sources = layer_sources(cfg)
    done: set[int] = set()
    for index in reversed(range(len(cfg.layers))):
        chain, at = [], index
        while cfg.layers[at].type == "shortcut" and at not in done:
            done.add(at)
            chain.append(sources[at][0])
            at = sources[at][1]
        if chain:
            chain.append(at)
            merged = np.logical_or.reduce([masks[conv] for conv in chain])
            masks.update(dict.fromkeys(chain, merged))
    return masks


@pytest.mark.parametrize("percent", [0.3, 0.85, 0.95])
def test_masks_are_the_published_ones(percent: float) -> None:
    """On YOLOv3 every mask equals that of the published steps, which need distinct gammas."""
    network = with_scales(yolov3_cfg(6, (64, 64), 0.25))
    selection = select(network, PruneOptions(method="slimming", channels=percent, min_share=0.05))
    expected = published(network, percent, 0.05)
    for conv, mask in expected.items():
        np.testing.assert_array_equal(selection.kept[conv], mask)


@pytest.mark.parametrize(
    ("agreeing", "blocks", "params"), [(False, 0, 6_405_231), (False, 8, 5_196_447), (True, 0, 1_461_018)]
)
def test_parameters_are_about_the_published_scripts(agreeing: bool, blocks: int, params: int) -> None:
    """85 % of independent gammas leave about the parameters that the scripts themselves do; agreeing ones far fewer."""
    network = with_scales(yolov3_cfg(6, (608, 608)), agreeing=agreeing)
    selection = select(network, PruneOptions(method="slimming", channels=0.85, blocks=blocks))
    assert costs_after(network, selection)[0] == pytest.approx(params, rel=0.2)


def test_blocks_go_by_their_gammas_before_the_cut() -> None:
    """The masks are those without blocks, less the blocks of least mean |gamma|."""
    network = with_scales(yolov3_cfg(6, (64, 64), 0.25))
    whole = select(network, PruneOptions(method="slimming", channels=0.85))
    cut = select(network, PruneOptions(method="slimming", channels=0.85, blocks=8))
    means = {
        block: float(network.batch_norm(block.second_conv).weight.detach().mean())
        for block in removable_blocks(network.cfg)
    }
    assert set(cut.removed_blocks) == set(sorted(means, key=means.__getitem__)[:8])
    gone = {conv for block in cut.removed_blocks for conv in block.layers}
    for conv, kept in cut.kept.items():
        assert not kept.any() if conv in gone else np.array_equal(kept, whole.kept[conv])


def test_ties_are_cut_by_rank() -> None:
    """With all gammas equal, or most of them 0, as many channels fall below the threshold as with distinct ones."""
    network = with_scales(yolov3_cfg(6, (64, 64), 0.25))
    free = [group.members[0] for group in channel_groups(network.cfg) if group.prunable and len(group.members) == 1]
    for value in (0.0, 1.0):
        with torch.no_grad():
            for group in channel_groups(network.cfg):
                for conv in group.members if group.prunable else ():
                    network.batch_norm(conv).weight.fill_(value)
        kept = select(network, PruneOptions(method="slimming", channels=0.5, min_share=0.0)).kept
        share = sum(kept[conv].sum() for conv in free) / sum(len(kept[conv]) for conv in free)
        assert 0.2 < share < 0.8


@pytest.mark.parametrize(
    "following",
    [
        "[upsample]\nstride=2\n[maxpool]\nsize=2\nstride=2\n",
        "[maxpool]\nsize=5\nstride=1\n[route]\nlayers=-2\n",
        "[route]\nlayers=-1\ngroups=2\n",
    ],
)
def test_what_the_published_way_leaves_alone(following: str) -> None:
    """Convolutions before upsampling, a pyramid of pools and a divided route keep every channel."""
    conv = "[convolutional]\nfilters=8\nactivation=leaky\nbatch_normalize=1\n"
    head = "[convolutional]\nfilters=21\nactivation=linear\n[yolo]\nmask=0,1,2\nanchors=1,2,3,4,5,6\nnum=3\nclasses=2\n"
    network = with_scales(parse_cfg("[net]\nwidth=32\nheight=32\n" + conv + following + conv + head, "x"))
    kept = select(network, PruneOptions(method="slimming", channels=0.9)).kept
    assert kept[0].all()
    assert not kept[1 + following.count("[")].all()


def test_every_layer_keeps_a_channel() -> None:
    """Asked for everything, each layer keeps its largest."""
    network = with_scales(yolov3_cfg(6, (64, 64), 0.25))
    kept = select(network, PruneOptions(method="slimming", channels=1.0, min_share=0.0)).kept
    assert all(mask.any() for mask in kept.values())
    assert kept[75].sum() == 1 and kept[75][network.batch_norm(75).weight.argmax()]
