"""Which blocks and channels go, by the method of the options."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from torch import Tensor

from board_app.core.errors import UsageError
from compress.darknet.cfg import INPUT, Cfg, layer_sources
from compress.darknet.network import DarknetNetwork
from compress.pruning.blocks import with_widths, without_layers
from compress.pruning.explained import explained_importance
from compress.pruning.groups import layer_channels
from compress.pruning.options import PruneOptions, Selection
from compress.pruning.ranking import rank
from compress.pruning.search import search
from compress.pruning.slimming import slim


def select(
    network: DarknetNetwork, options: PruneOptions, pictures: Callable[[], Iterable[Tensor]] | None = None
) -> Selection:
    """The blocks and channels to cut; the network is not changed.

    Args:
        network: in evaluation mode.
        options: what is asked for.
        pictures: batches, float32 (N, 3, H, W) in 0..1, which the importance `reconstruction` is found over.
    Raises:
        UsageError: that importance is asked for without pictures.
        InputError: there are fewer removable blocks than asked for, or a target is out of reach.
    """
    if options.importance == "reconstruction":
        if pictures is None:
            raise UsageError(
                "importance: expected pictures beside 'reconstruction', found none. Name a folder of them: "
                "--calibration FOLDER, or recalibration_images in a CONFIG"
            )
        return search(network, options, explained_importance(network, pictures()))
    if options.method == "slimming":
        return slim(network, options)
    return search(network, options) if options.has_target else rank(network, options)


def selected_cfg(cfg: Cfg, selection: Selection) -> tuple[Cfg, tuple[int, ...]]:
    """The cfg of what stays, and for each of its layers the index it had before."""
    return without_layers(with_widths(cfg, selection.widths), selection.removed_blocks)


def kept_inputs(cfg: Cfg, selection: Selection) -> dict[int, np.ndarray]:
    """For every convolution that stays which of the channels that it reads stay, bool (C,)."""
    channels, sources = layer_channels(cfg), layer_sources(cfg)
    kept = {}
    for conv, outputs in selection.kept.items():
        if not outputs.any():
            continue
        read = sources[conv][0]
        segments = () if read == INPUT else channels[read]
        parts = [
            np.ones(segment.stop - segment.start, bool)
            if segment.conv == INPUT
            else selection.kept[segment.conv][segment.start : segment.stop]
            for segment in segments
        ]
        kept[conv] = np.concatenate(parts) if parts else np.ones(cfg.input_channels, bool)
    return kept
