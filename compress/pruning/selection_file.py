"""A selection as JSON: which shortcuts' blocks went, and which channels of every convolution stayed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from board_app.core.atomic_file import write_text
from board_app.core.errors import InputError
from compress.darknet.cfg import Cfg
from compress.pruning.blocks import removable_blocks
from compress.pruning.groups import channel_groups
from compress.pruning.options import Selection


def write_selection(selection: Selection, path: Path) -> None:
    """Write it, with layer and channel indices of the unpruned cfg."""
    document = {
        "removed_shortcuts": [block.shortcut for block in selection.removed_blocks],
        "kept_channels": {str(conv): np.flatnonzero(kept).tolist() for conv, kept in sorted(selection.kept.items())},
    }
    write_text(path, json.dumps(document) + "\n")


def read_selection(path: Path, cfg: Cfg) -> Selection:
    """Of a network with the unpruned `cfg`.

    Raises:
        InputError: the file is damaged, or of another cfg.
    """
    channels = {conv: group.channels for group in channel_groups(cfg) for conv in group.members}
    blocks = {block.shortcut: block for block in removable_blocks(cfg)}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        removed = tuple(blocks[shortcut] for shortcut in document["removed_shortcuts"])
        kept = {conv: np.zeros(count, bool) for conv, count in channels.items()}
        if document["kept_channels"].keys() != {str(conv) for conv in kept}:
            raise ValueError(f"{len(document['kept_channels'])} convolutions instead of {len(kept)}")
        for conv, mask in kept.items():
            mask[document["kept_channels"][str(conv)]] = True
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected the channels that are left of {cfg.name}, found none that are of it ({error}). Cut it "
            "again: `roadslim prune CONFIG --fresh`"
        ) from error
    return Selection(removed, kept)
