"""Residual blocks and the cfg without them."""

from __future__ import annotations

import itertools

import pytest
import torch

from compress.darknet.cfg import cfg_text, layer_sources, parse_cfg
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import random_cfg, randomise
from compress.darknet.topologies import yolov3_cfg
from compress.pruning import Block, removable_blocks
from compress.pruning.blocks import without_layers

NET = "[net]\nwidth=32\nheight=32\n"


def conv(size: int, filters: int = 8) -> str:
    """A convolution's section."""
    return f"[convolutional]\nfilters={filters}\nsize={size}\npad=1\nactivation=leaky\nbatch_normalize=1\n"


def test_all_of_yolov3s_shortcuts_are_blocks() -> None:
    """23 candidates, each a shortcut with the two convolutions before it."""
    blocks = removable_blocks(yolov3_cfg(6, (608, 608)))
    assert len(blocks) == 23
    assert blocks[0] == Block(4, 2, 3)
    assert (blocks[-1].layers, blocks[-1].input) == ((72, 73, 74), 71)


@pytest.mark.parametrize(
    "text",
    [
        conv(3) + conv(1) + conv(3) + "[shortcut]\nfrom=0\n[route]\nlayers=1\n",  # its inside is read elsewhere
        conv(3) + conv(1) + conv(3) + "[shortcut]\nfrom=0\n[route]\nlayers=-2,3\n",
        conv(3) + conv(3) + conv(3) + "[shortcut]\nfrom=0\n",  # another form
        conv(3) + conv(1) + conv(1) + conv(3) + "[shortcut]\nfrom=0\n",  # longer
        conv(3) + conv(1) + "[maxpool]\nsize=3\nstride=1\n" + conv(3) + "[shortcut]\nfrom=-3\n",
        conv(3) + "[route]\nlayers=0\n" + conv(1) + conv(3) + "[shortcut]\nfrom=0\n",  # around more than the block
    ],
)
def test_other_forms_are_no_blocks(text: str) -> None:
    """What reads or holds more than the block's three layers cannot be left out."""
    assert removable_blocks(parse_cfg(NET + text, "x")) == []


@pytest.mark.parametrize(
    ("after", "removable"),
    [
        ("[maxpool]\nsize=2\nstride=2\n" + conv(3), True),
        ("[route]\nlayers=-1,0\n[reorg]\nstride=2\n", False),
        ("[upsample]\nstride=1\n[shortcut]\nfrom=0\nactivation=leaky\n", False),
    ],
)
def test_a_block_stays_whose_constants_are_none_later(after: str, removable: bool) -> None:
    """What it added to every pixel cannot be given to a convolution behind a reorg or an activated sum."""
    text = conv(3) + conv(1) + conv(3) + "[shortcut]\nfrom=0\n" + after
    assert len(removable_blocks(parse_cfg(NET + text, "x"))) == removable


@pytest.mark.parametrize("activation", ["logistic", "mish"])
def test_a_block_stays_that_nothing_silences(activation: str) -> None:
    """A logistic gives 0.5 for 0."""
    text = conv(3) + conv(1) + conv(3).replace("leaky", activation) + "[shortcut]\nfrom=0\n"
    assert len(removable_blocks(parse_cfg(NET + text, "x"))) == (activation == "mish")


def test_blocks_behind_each_other_all_go() -> None:
    """Without all 23 blocks, the skips that pointed at the last block of a stage point at its first convolution."""
    cfg = yolov3_cfg(6, (64, 64))
    cut, old_layers = without_layers(cfg, removable_blocks(cfg))
    again = parse_cfg(cfg_text(cut), "cut")
    routes = [section.options["layers"] for section in again.layers if section.type == "route"]
    assert routes == ["-4", "-1,4", "-4", "-1,3"]
    assert [old_layers[index] for index in (3, 4)] == [12, 37]


@pytest.mark.parametrize("seed", range(40))
def test_every_layer_reads_what_it_read(seed: int) -> None:
    """For any choice of blocks: written and read again, each layer's sources are the old ones, blocks passed by."""
    cfg = random_cfg(seed, layers=16)
    blocks = removable_blocks(cfg)
    for chosen in itertools.islice(
        itertools.chain.from_iterable(itertools.combinations(blocks, count) for count in range(len(blocks) + 1)), 20
    ):
        cut, old_layers = without_layers(cfg, chosen)
        again = parse_cfg(cfg_text(cut), "cut")
        passed = {block.shortcut: block.input for block in chosen}
        for new, sources in enumerate(layer_sources(again)):
            wanted = list(layer_sources(cfg)[old_layers[new]])
            for position, source in enumerate(wanted):
                while source in passed:
                    source = passed[source]
                wanted[position] = source
            assert [-1 if source < 0 else old_layers[source] for source in sources] == wanted


def test_a_removed_block_passes_its_input_on() -> None:
    """The cut network equals the full one whose block adds zero."""
    text = NET + conv(3) + conv(1, 4) + conv(3) + "[shortcut]\nfrom=-3\n" + conv(1, 6).replace("leaky", "linear")
    text = text.replace("batch_normalize=1\n", "batch_normalize=1\n") + "[route]\nlayers=3\n"
    text += "[convolutional]\nfilters=6\nactivation=linear\n[yolo]\nanchors=1,1\nclasses=1\n"
    cfg = parse_cfg(text, "x")
    full = randomise(DarknetNetwork(cfg))
    cut, old_layers = without_layers(cfg, removable_blocks(cfg))
    small = DarknetNetwork(parse_cfg(cfg_text(cut), "cut")).eval()
    for new, old in enumerate(old_layers):
        small.layers[new].load_state_dict(full.layers[old].state_dict())
    with torch.no_grad():
        full.batch_norm(2).weight.zero_()
        full.batch_norm(2).bias.zero_()
        images = torch.rand(1, 3, 32, 32)
        torch.testing.assert_close(small(images), full(images), rtol=0, atol=0)
