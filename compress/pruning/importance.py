"""What is lost with a channel by its scale, in one currency for channels and blocks.

A channel of a convolution counts |gamma|, the size of what it adds to the network beside a constant, and the part of
that constant act(beta) that cannot be folded into the convolution after it: under zero padding the constant does not
reach all taps at the border, so it counts by the share of that convolution's outputs whose window leaves the map.
A channel of a group counts the sum over its members, a residual block the sum over its second convolution.

Sources: Liu et al., network slimming, arXiv:1708.06519 (|gamma|); Fang et al., DepGraph, arXiv:2301.12900 (groups).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from board_app.core.errors import InputError
from compress.darknet.cfg import INPUT, Cfg, Section, layer_shapes, layer_sources
from compress.darknet.network import DarknetNetwork
from compress.darknet.shapes import Shape, convolution_padding
from compress.pruning.blocks import Block, removable_blocks
from compress.pruning.groups import ChannelGroup


def gammas(network: DarknetNetwork, conv: int) -> np.ndarray:
    """|gamma| of a convolution's channels, float64 (C,)."""
    magnitudes: np.ndarray = network.batch_norm(conv).weight.detach().abs().double().cpu().numpy()
    return magnitudes


def betas(network: DarknetNetwork, conv: int) -> np.ndarray:
    """|beta| of a convolution's channels, float64 (C,)."""
    magnitudes: np.ndarray = network.batch_norm(conv).bias.detach().abs().double().cpu().numpy()
    return magnitudes


def channel_importance(network: DarknetNetwork, convs: Iterable[int]) -> dict[int, np.ndarray]:
    """For each of these convolutions, which have batch normalisation, its channels' importance, float64 (C,)."""
    border = border_shares(network.cfg)
    return {conv: gammas(network, conv) + border[conv] * _constants(network, conv) for conv in convs}


def weakest_blocks(
    network: DarknetNetwork, count: int, importance: Mapping[int, np.ndarray] | None = None
) -> tuple[Block, ...]:
    """The `count` blocks of least mean importance before the shortcut, in cfg order.

    Args:
        network: of the blocks.
        count: how many.
        importance: of every second convolution its channels', float64 (C,); None: |gamma|.

    Raises:
        InputError: the network has not so many.
    """
    blocks = removable_blocks(network.cfg)
    if count > len(blocks):
        raise InputError(
            f"{network.cfg.name}: expected at least {count} residual blocks (a shortcut around a 1x1 and a 3x3 "
            f"convolution), found {len(blocks)}. Ask for at most {len(blocks)} blocks."
        )
    seconds = [block.second_conv for block in blocks]
    scores = [float((gammas(network, conv) if importance is None else importance[conv]).mean()) for conv in seconds]
    weakest = np.argsort(scores, kind="stable")[:count]
    return tuple(blocks[position] for position in sorted(weakest))


def unit_sums(group: ChannelGroup, values: Iterable[np.ndarray]) -> np.ndarray:
    """What a group's units have in all, float64 (units,): the sum over members, each (C,), and over parts."""
    total = sum(values, np.zeros(group.channels))
    summed: np.ndarray = total.reshape(group.parts, group.units).sum(0)
    return summed


def worth(importance: np.ndarray, full: float) -> np.ndarray:
    """What a group is worth with so much importance left of `full`: -full^2 / importance, float64 like `importance`.

    It falls by the importance that goes while little is gone, and ever faster as less is left. A network passes no
    more than its narrowest place does: layers are resistances in series, each the inverse of a width. A worth that
    bends less, as the logarithm or none, will not do: as a layer costs the product of the two widths beside it, one
    of them would shrink to its floor and the other stay whole.

    Source: Mo & Walrand, Fair end-to-end window-based congestion control, 2000 (fairness with alpha = 2).
    """
    if full == 0:
        return np.zeros_like(importance)
    with np.errstate(divide="ignore"):  # nothing left: minus infinity
        return -(full**2) / importance


def strongest_first(importance: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Positions by falling importance; of equal ones those with the larger shift |beta| first, then the earlier."""
    return np.lexsort((-np.arange(len(importance)), shifts, importance))[::-1]


def border_shares(cfg: Cfg) -> dict[int, float]:
    """For every convolution the share of the outputs of what reads it, through whatever lies between, at a border.

    Of several readers the largest counts; 0 where only convolutions without padding read it.
    """
    shapes = layer_shapes(cfg)
    at_input: Shape = (cfg.input_channels, *cfg.input_hw)
    reach: list[frozenset[int]] = []  # per layer the convolutions whose constants its output has
    shares: dict[int, float] = {}
    for index, (section, sources) in enumerate(zip(cfg.layers, layer_sources(cfg), strict=True)):
        arriving = frozenset().union(*[reach[source] for source in sources if source != INPUT])
        if section.type == "convolutional":
            read = at_input if sources[0] == INPUT else shapes[sources[0]]
            share = _border_share(section, read[1:], shapes[index][1:])
            shares.update({conv: max(shares[conv], share) for conv in arriving})
            shares[index], arriving = 0.0, frozenset((index,))
        reach.append(arriving)
    return shares


def _border_share(section: Section, in_hw: tuple[int, ...], out_hw: tuple[int, ...]) -> float:
    size, stride, padding = section.integer("size", 1), section.integer("stride", 1), convolution_padding(section)
    inside = 1.0
    for before, after in zip(in_hw, out_hw, strict=True):
        starts = np.arange(after) * stride - padding
        inside *= float(np.mean((starts >= 0) & (starts + size <= before)))
    return 1.0 - inside


@torch.no_grad()
def _constants(network: DarknetNetwork, conv: int) -> np.ndarray:
    """|act(beta)|: what a channel still gives when its gamma is 0, float64 (C,)."""
    beta = network.batch_norm(conv).bias.detach().double().cpu().clone()
    constants: np.ndarray = network.convolution(conv).activate(beta).abs().numpy()
    return constants
