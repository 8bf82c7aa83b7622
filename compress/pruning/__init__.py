"""Cutting channels and residual blocks out of a trained network, with proof that the rest is unchanged.

The names are imported when they are used, so that the command line can explain itself without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
_MODULES = {
    "Block": "blocks",
    "ChannelGroup": "groups",
    "PruneOptions": "options",
    "PruneReport": "report",
    "PruneResult": "pruner",
    "Selection": "options",
    "channel_groups": "groups",
    "prune": "pruner",
    "removable_blocks": "blocks",
    "select": "selection",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
