"""What to cut: the wishes, and the choice that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from board_app.core.errors import UsageError
from compress.darknet.cfg import Cfg
from compress.pruning.blocks import Block, removable_blocks


@dataclass(frozen=True)
class PruneOptions:
    """How much to cut.

    Attributes:
        channels: share of the prunable channels to remove from what is left without the blocks, 0 to 1; a channel
            that shortcuts tie counts once for every convolution that has it. With a target it does not count.
        blocks: residual blocks to leave out, the weakest first.
        min_share: of every convolution's channels at least this share stays, and
        min_channels: at least so many, where it has them.
        width_multiple: kept widths are rounded to the nearest multiple of this, never to 0 and never above the width.
        target_params: cut as few channels as bring the parameters down to this.
        target_gmacs: the same for 1e9 multiply-accumulates an image.
    Raises:
        UsageError: a value out of its range.
    """

    channels: float = 0.85
    blocks: int = 0
    min_share: float = 0.01
    width_multiple: int = 1
    target_params: int | None = None
    target_gmacs: float | None = None
    min_channels: int = 4

    def __post_init__(self) -> None:
        for name, low, high in (
            ("channels", 0, 1),
            ("blocks", 0, float("inf")),
            ("min_share", 0, 1),
            ("width_multiple", 1, float("inf")),
            ("min_channels", 1, float("inf")),
            ("target_params", 1, float("inf")),
            ("target_gmacs", 0, float("inf")),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                limit = f"at least {low}" if high == float("inf") else f"from {low} to {high}"
                raise UsageError(f"{name}: expected {limit}, found {value}. Correct it.")

    @property
    def has_target(self) -> bool:
        """Whether a cost decides how many channels go."""
        return self.target_params is not None or self.target_gmacs is not None


@dataclass(frozen=True)
class Selection:
    """What goes and what stays.

    Attributes:
        removed_blocks: in cfg order.
        kept: for every convolution of the unpruned cfg which channels stay, bool (C,); none of a removed block's.
    """

    removed_blocks: tuple[Block, ...]
    kept: Mapping[int, np.ndarray]

    @property
    def widths(self) -> dict[int, int]:
        """Channels that stay, for every convolution outside removed blocks."""
        gone = {conv for block in self.removed_blocks for conv in (block.first_conv, block.second_conv)}
        return {conv: int(kept.sum()) for conv, kept in self.kept.items() if conv not in gone}

    def to_state(self) -> dict[str, Any]:
        """As numbers and tensors, for a checkpoint."""
        return {
            "shortcuts": [block.shortcut for block in self.removed_blocks],
            "kept": {conv: torch.from_numpy(kept.copy()) for conv, kept in self.kept.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], cfg: Cfg) -> Selection:
        """What `to_state` gave, for the same cfg."""
        by_shortcut = {block.shortcut: block for block in removable_blocks(cfg)}
        blocks = tuple(by_shortcut[shortcut] for shortcut in state["shortcuts"])
        return cls(blocks, {conv: kept.numpy() for conv, kept in state["kept"].items()})
