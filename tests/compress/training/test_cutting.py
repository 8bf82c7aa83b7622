"""How a batch is cut."""

from __future__ import annotations

import pytest

from board_app.core.errors import UsageError
from compress.config import TrainingConfig
from compress.training.cutting import micro_batches, warn_of_shared_statistics

BATCH = list(range(100, 116))


@pytest.mark.parametrize("statistics, micro", [(None, None), (None, 4), (4, None), (4, 8), (2, 6), (3, 3), (5, 10)])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_shares_are_the_batch_and_no_group_is_cut(
    statistics: int | None, micro: int | None, processes: int
) -> None:
    """All pictures once and in order, none too many at once, and statistics from the groups of one process."""
    config = TrainingConfig(batch_size=16, statistics_batch=statistics, micro_batch=micro)
    shares = [micro_batches(BATCH, config, rank, processes) for rank in range(processes)]
    assert sum((cut for share in shares for cut in share), []) == BATCH
    assert max(len(cut) for share in shares for cut in share) <= (micro or 16)
    group = statistics or micro
    if group:
        groups = [cut[i : i + group] for share in shares for cut in share for i in range(0, len(cut), group)]
        assert groups == [BATCH[i : i + group] for i in range(0, 16, group)]


def test_more_processes_than_groups_are_refused() -> None:
    """The message says what to change."""
    config = TrainingConfig(batch_size=16, statistics_batch=8)
    with pytest.raises(UsageError, match="for each of 3 processes, found 2.*lower statistics_batch"):
        micro_batches(BATCH, config, 0, 3)


def test_statistics_of_shares_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Only where several processes divide a batch whose groups nobody has set."""
    warn_of_shared_statistics(TrainingConfig(), 1)
    warn_of_shared_statistics(TrainingConfig(statistics_batch=4), 2)
    warn_of_shared_statistics(TrainingConfig(micro_batch=4), 2)
    assert not caplog.records
    warn_of_shared_statistics(TrainingConfig(), 2)
    assert "statistics_batch" in caplog.text
