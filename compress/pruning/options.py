"""What to cut: the wishes, and the choice that follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from board_app.core.errors import UsageError
from compress.darknet.cfg import Cfg
from compress.pruning.blocks import Block
from compress.pruning.costs import network_costs
from compress.pruning.groups import ChannelGroup
from dpu.architecture import board as board_named

METHODS = ("cost", "slimming")
PREFERENCES = ("speed", "accuracy")
IMPORTANCES = ("gamma", "reconstruction")
_TARGETS = ("target_params", "target_gmacs", "target_ms")


@dataclass(frozen=True)
class PruneOptions:
    """How much to cut.

    Attributes:
        method: "cost" weighs what a cut loses against what it saves (compress.pruning.search; without a target,
            compress.pruning.ranking); "slimming" is the published way (compress.pruning.slimming).
        importance: of a channel, "gamma": the size of its scale, which a sparse training has made small where it may go
            (compress.pruning.importance); "reconstruction": how much of what is read it explains over pictures
            (compress.pruning.explained), with method "cost" and a target.
        channels: share of the prunable channels to remove from what is left without the blocks, 0 to 1; a channel
            that shortcuts tie counts once for every convolution that has it. With a target it does not count.
        blocks: residual blocks to leave out, the weakest first; "auto": with a target as many as pay, else none.
        min_share: of every convolution's channels at least this share stays, and
        min_channels: at least so many, where it has them (slimming: 1).
        width_multiple: kept widths are multiples of this, never 0 and never above the width; None: 8 with a target,
            else 1.
        target_params: cut as little as brings the parameters down to this.
        target_gmacs: the same for 1e9 multiply-accumulates an image.
        target_ms: the same for predicted milliseconds on one core of the board's DPU. All given targets are met.
        board: whose DPU the milliseconds are predicted for.
        prefer: of the many cuts that reach the targets those that make the network fast ("speed": the time always
            counts as saved, and the work beside parameters), or that lose the least ("accuracy": only what misses its
            target counts).
    Raises:
        UsageError: a value out of its range, or values that do not go together.
        UnknownBoardError: no board of that name.
    """

    method: Literal["cost", "slimming"] = "cost"
    importance: Literal["gamma", "reconstruction"] = "gamma"
    channels: float = 0.85
    blocks: int | Literal["auto"] = "auto"
    min_share: float = 0.01
    min_channels: int = 4
    width_multiple: int | None = None
    target_params: int | None = None
    target_gmacs: float | None = None
    target_ms: float | None = None
    board: str = "zcu104"
    prefer: Literal["speed", "accuracy"] = "speed"

    def __post_init__(self) -> None:
        for name, low, high in (
            ("channels", 0, 1),
            ("blocks", 0, float("inf")),
            ("min_share", 0, 1),
            ("width_multiple", 1, float("inf")),
            ("min_channels", 1, float("inf")),
            ("target_params", 1, float("inf")),
            ("target_gmacs", 0, float("inf")),
            ("target_ms", 0, float("inf")),
        ):
            value = getattr(self, name)
            if value not in (None, "auto") and not low <= value <= high:
                limit = f"at least {low}" if high == float("inf") else f"from {low} to {high}"
                raise UsageError(f"{name}: expected {limit}, found {value}. Correct it.")
        board_named(self.board)
        for name, known in (("method", METHODS), ("prefer", PREFERENCES), ("importance", IMPORTANCES)):
            if getattr(self, name) not in known:
                raise UsageError(f"{name}: expected {' or '.join(known)}, found {getattr(self, name)!r}. Correct it.")
        if self.method == "slimming" and (self.has_target or self.width_multiple not in (None, 1)):
            wrong = "a target" if self.has_target else f"width_multiple {self.width_multiple}"
            raise UsageError(
                f"method: expected a share of channels and free widths with 'slimming', found {wrong}. "
                "Leave it out, or take method 'cost'."
            )
        if self.importance == "reconstruction" and (self.method == "slimming" or not self.has_target):
            raise UsageError(
                f"importance: expected method 'cost' and a target beside 'reconstruction', found {self.method!r} and "
                f"{'one' if self.has_target else 'none'}. Give them, or take importance 'gamma'."
            )
        if self.prefer == "accuracy" and self.target_params is None and self.target_gmacs is None:
            raise UsageError(
                "prefer: expected target_params or target_gmacs beside 'accuracy', found neither: without one all cuts "
                "are chosen alike. Give one, or leave prefer out."
            )

    @property
    def has_target(self) -> bool:
        """Whether a cost decides how much goes."""
        return any(getattr(self, name) is not None for name in _TARGETS)

    @property
    def multiple(self) -> int:
        """What kept widths are multiples of."""
        return self.width_multiple or (8 if self.has_target else 1)

    @property
    def block_count(self) -> int | None:
        """How many blocks go; None where the target decides."""
        if self.blocks == "auto":
            return None if self.has_target else 0
        return self.blocks

    @property
    def width_limits(self) -> str:
        """What widths cannot fall below, by key, as it is written: `min_channels 4, min_share 1%, width_multiple 8`."""
        multiple = f", width_multiple {self.multiple}" if self.multiple > 1 else ""
        return f"min_channels {self.min_channels}, min_share {100 * self.min_share:g}%{multiple}"

    def least_width(self, channels: int) -> int:
        """Of so many channels at least this many stay."""
        return min(max(self.min_channels, math.ceil(self.min_share * channels - 1e-9)), channels)

    def unit_step(self, group: ChannelGroup) -> int:
        """By how many units a group's kept widths differ, to be multiples."""
        return self.multiple // math.gcd(self.multiple, group.parts)

    def least_units(self, group: ChannelGroup) -> int:
        """At least so many units of a group stay, a multiple where it is wide enough."""
        step = self.unit_step(group)
        least = -(-self.least_width(group.channels) // group.parts)
        return min(-(-least // step) * step, group.units)

    def towards(self, share: float, cfg: Cfg) -> PruneOptions:
        """The options of a network on its way: from `cfg` as it is at 0 to these at 1.

        Targets fall by the same factor a step, the share of channels and the blocks by the same number.
        """
        if share >= 1:
            return self
        on_the_way: dict[str, Any] = {"channels": share * self.channels}
        if self.blocks != "auto":
            on_the_way["blocks"] = round(share * self.blocks)
        if self.has_target:
            now = network_costs(cfg, self.board)
            for name, cost in zip(_TARGETS, (now.params, now.gmacs, now.ms), strict=True):
                target = getattr(self, name)
                if target is not None and target < cost:
                    on_the_way[name] = type(target)(cost * (target / cost) ** share)
        return replace(self, **on_the_way)


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
