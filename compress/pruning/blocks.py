"""Residual blocks that can be left out, and the cfg without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from compress.darknet.cfg import INPUT, Cfg, Section, layer_sources
from compress.darknet.shapes import activation_of


@dataclass(frozen=True)
class Block:
    """A shortcut around a 1x1 and a 3x3 convolution, as layer indices; without it its input passes on."""

    shortcut: int
    first_conv: int
    second_conv: int

    @property
    def input(self) -> int:
        """The layer that the shortcut goes around from."""
        return self.first_conv - 1

    @property
    def layers(self) -> tuple[int, int, int]:
        """Everything that goes with it."""
        return self.first_conv, self.second_conv, self.shortcut


def removable_blocks(cfg: Cfg) -> list[Block]:
    """Every block whose removal leaves the rest of the network as it is, in cfg order."""
    sources = layer_sources(cfg)
    readers: dict[int, set[int]] = {}
    for index, read in enumerate(sources):
        for source in read:
            readers.setdefault(source, set()).add(index)
    blocks = []
    for index, section in enumerate(cfg.layers):
        if section.type != "shortcut" or sources[index] != (index - 1, index - 3):
            continue
        if activation_of(section) != "linear":  # it would be lost with the block
            continue
        block = Block(index, index - 2, index - 1)
        inside = (cfg.layers[block.first_conv], cfg.layers[block.second_conv])
        if not (_is_convolution(inside[0], 1) and _is_convolution(inside[1], 3)):
            continue
        alone = readers[block.first_conv] == {block.second_conv} and readers[block.second_conv] == {block.shortcut}
        if alone and _constants_reach_convolutions(cfg, readers, block.shortcut):
            blocks.append(block)
    return blocks


def _constants_reach_convolutions(cfg: Cfg, readers: Mapping[int, set[int]], layer: int) -> bool:
    """Whether a constant added to the layer's channels comes as one to every convolution that reads them.

    A sum that is activated makes it depend on the picture, a reorg on the place.
    """
    for reader in readers.get(layer, ()):
        section = cfg.layers[reader]
        if section.type == "reorg" or (section.type == "shortcut" and activation_of(section) != "linear"):
            return False
        if section.type != "convolutional" and not _constants_reach_convolutions(cfg, readers, reader):
            return False
    return True


def without_layers(cfg: Cfg, blocks: Iterable[Block]) -> tuple[Cfg, tuple[int, ...]]:
    """The cfg without some blocks, routes and shortcuts pointing where they did.

    A layer that read a removed shortcut reads what the shortcut went around. Absolute indices stay absolute,
    relative ones relative.

    Returns:
        The cfg, and for each of its layers the index it had before.
    """
    passed = {block.shortcut: block.input for block in blocks}
    gone = {layer for block in blocks for layer in block.layers}
    kept = tuple(index for index in range(len(cfg.layers)) if index not in gone)
    new_index = {old: new for new, old in enumerate(kept)} | {INPUT: INPUT}
    layers = []
    for new, old in enumerate(kept):
        section = cfg.layers[old]
        for key in ("layers", "from"):
            if section.type in ("route", "shortcut") and key in section.options:
                section = section.with_options(**{key: _moved(section, key, old, new, passed, new_index)})
        layers.append(section)
    return replace(cfg, layers=tuple(layers)), kept


def with_widths(cfg: Cfg, widths: Mapping[int, int]) -> Cfg:
    """The cfg with other numbers of filters, by layer index."""
    layers = list(cfg.layers)
    for index, filters in widths.items():
        layers[index] = layers[index].with_options(filters=filters)
    return replace(cfg, layers=tuple(layers))


def _moved(section: Section, key: str, old: int, new: int, passed: dict[int, int], new_index: dict[int, int]) -> str:
    moved = []
    for number in section.integers(key):
        layer = old + number if number < 0 else number
        while layer in passed:
            layer = passed[layer]
        moved.append(new_index[layer] - new if number < 0 else new_index[layer])
    return ",".join(map(str, moved))


def _is_convolution(section: Section, size: int) -> bool:
    return (
        section.type == "convolutional"
        and section.integer("size", 1) == size
        and section.integer("stride", 1) == 1
        and section.integer("batch_normalize", 0) == 1
        and activation_of(section) != "logistic"  # which gives 0.5 for 0, so that nothing silences it
    )
