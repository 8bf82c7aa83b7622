"""Which blocks and channels go, by the method of the options."""

from __future__ import annotations

from compress.darknet.cfg import Cfg
from compress.darknet.network import DarknetNetwork
from compress.pruning.blocks import with_widths, without_layers
from compress.pruning.options import PruneOptions, Selection
from compress.pruning.ranking import rank
from compress.pruning.search import search
from compress.pruning.slimming import slim


def select(network: DarknetNetwork, options: PruneOptions) -> Selection:
    """The blocks and channels to cut; the network is not changed.

    Raises:
        InputError: there are fewer removable blocks than asked for, or a target is out of reach.
    """
    if options.method == "slimming":
        return slim(network, options)
    return search(network, options) if options.has_target else rank(network, options)


def selected_cfg(cfg: Cfg, selection: Selection) -> tuple[Cfg, tuple[int, ...]]:
    """The cfg of what stays, and for each of its layers the index it had before."""
    return without_layers(with_widths(cfg, selection.widths), selection.removed_blocks)
