"""How an optimiser's batch is cut: a share for every process, and in it micro-batches.

Cuts lie between the groups that batch normalisation takes its statistics from, so these are the same however many
processes there are.
"""

from __future__ import annotations

import logging

from board_app.core.errors import UsageError
from compress.config import TrainingConfig

log = logging.getLogger(__name__)


def micro_batches(batch: list[int], config: TrainingConfig, rank: int, processes: int) -> list[list[int]]:
    """The micro-batches of one process's share of a batch, which is given as the pictures' indices.

    Raises:
        UsageError: there are more processes than groups of pictures.
    """
    group = config.statistics_batch or config.micro_batch or 1
    groups = [batch[first : first + group] for first in range(0, len(batch), group)]
    if len(groups) < processes:
        raise UsageError(
            f"expected a group of pictures for each of {processes} processes, found {len(groups)} in a batch of "
            f"{len(batch)} pictures by {group}. Raise batch_size, lower statistics_batch or micro_batch, or start "
            "fewer processes"
        )
    first, last = (len(groups) * part // processes for part in (rank, rank + 1))
    share = sum(groups[first:last], [])
    size = config.micro_batch or len(share)
    return [share[first : first + size] for first in range(0, len(share), size)]


def warn_of_shared_statistics(config: TrainingConfig, processes: int) -> None:
    """Log where the results follow from the number of processes."""
    if processes > 1 and not (config.statistics_batch or config.micro_batch):
        log.warning(
            "batch statistics are those of each process's share, so results change with the number of processes; "
            "statistics_batch keeps them the same"
        )
