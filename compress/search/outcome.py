"""What a trial's run is asked for and what it comes to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from compress.config import CompressConfig

OnEpoch = Callable[[str, dict[str, Any]], None]  # of a stage's name and an epoch's line of metrics.jsonl


@dataclass(frozen=True)
class Outcome:
    """What a trial came to: mAP50 (0 to 1), the predicted time on the board's DPU in ms, the number of parameters."""

    map50: float
    dpu_ms: float
    board: str
    params: int


class Work(Protocol):
    """Runs a trial to its end."""

    def __call__(self, config: CompressConfig, evaluate: str, on_epoch: OnEpoch) -> Outcome:
        """Run it in `config.folder`, calling `on_epoch` after every epoch; what that raises ends the trial."""


def known_dpu_ms(config: CompressConfig) -> float | None:
    """A trial's predicted DPU time: what it has been pruned to, before that what it is pruned down to, or None.

    Beside other targets a time is but a limit: the trial may become faster.
    """
    try:
        return float(prune_report(config)["predicted_dpu_ms_after"])
    except FileNotFoundError:
        other = config.prune.target_params or config.prune.target_gmacs
        return None if other else config.prune.target_ms


def prune_report(config: CompressConfig) -> dict[str, Any]:
    """A trial's prune.json; FileNotFoundError before."""
    return dict(json.loads((config.folder / "prune" / "prune.json").read_text(encoding="utf-8")))
