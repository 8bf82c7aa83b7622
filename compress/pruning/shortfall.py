"""How much of the share of channels that was asked for a cut came to, and what held it back."""

from __future__ import annotations

from compress.darknet.cfg import Cfg
from compress.pruning.groups import channel_groups
from compress.pruning.options import PruneOptions, Selection

_MET_WITHIN = 0.001  # of all channels


def removed_share(cfg: Cfg, selection: Selection) -> float | None:
    """Of the prunable channels in what is left without the blocks, as `PruneOptions.channels` counts them.

    None where there are none.
    """
    gone = {conv for block in selection.removed_blocks for conv in block.layers}
    prunable = {conv for group in channel_groups(cfg) if group.prunable for conv in group.members} - gone
    channels = sum(len(selection.kept[conv]) for conv in prunable)
    return 1 - sum(int(selection.kept[conv].sum()) for conv in prunable) / channels if channels else None


def held_by(options: PruneOptions, removed: float | None) -> str | None:
    """What kept a cut below its share; None where it came to it, or a target decides."""
    if options.has_target or (removed or 0) >= options.channels - _MET_WITHIN:
        return None
    if removed is None:
        return "no layer of this network can lose channels"
    if options.method == "slimming":
        return (
            f"with slimming a channel stays that any layer of its group keeps, every layer keeps one and its "
            f"{100 * options.min_share:g}% (min_share), and those before an [upsample], a pyramid of [maxpool]s or a "
            "route with groups stay whole"
        )
    return f"every layer is at its smallest width ({options.width_limits})"
