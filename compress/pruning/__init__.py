"""Cutting channels and residual blocks out of a trained network, with proof that the rest is unchanged."""

from compress.pruning.blocks import Block, removable_blocks
from compress.pruning.groups import ChannelGroup, channel_groups
from compress.pruning.options import PruneOptions, Selection
from compress.pruning.pruner import PruneResult, prune
from compress.pruning.report import PruneReport
from compress.pruning.selection import select

__all__ = [
    "Block",
    "ChannelGroup",
    "PruneOptions",
    "PruneReport",
    "PruneResult",
    "Selection",
    "channel_groups",
    "prune",
    "removable_blocks",
    "select",
]
