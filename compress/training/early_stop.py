"""When a training ends: after its last epoch, or when mAP50 has not become better for some evaluations.

Source: Prechelt, Early stopping, but when?, 1998 (the weights of the best evaluation are the result).
"""

from __future__ import annotations

from collections.abc import Sequence

from compress.config import TrainingConfig
from compress.training.batch import Metrics


def best(history: Sequence[Metrics]) -> Metrics:
    """The first line with the highest mAP50; one must have it."""
    return max((line for line in history if "map50" in line), key=lambda line: line["map50"])


def is_over(history: Sequence[Metrics], config: TrainingConfig) -> bool:
    """Whether these epochs are all."""
    if len(history) >= config.epochs:
        return True
    evaluated = [line for line in history if "map50" in line]
    if not config.patience or not evaluated:
        return False
    since = sum(line["epoch"] > best(evaluated)["epoch"] for line in evaluated)
    return since >= config.patience
