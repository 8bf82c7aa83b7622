"""When a training ends."""

from __future__ import annotations

import pytest

from compress.config import TrainingConfig
from compress.training.early_stop import best, is_over


def history(*shares: float | None) -> list[dict[str, float]]:
    """Lines of epochs, with mAP50 where it was measured."""
    return [
        {"epoch": number} if share is None else {"epoch": number, "map50": share}
        for number, share in enumerate(shares, start=1)
    ]


@pytest.mark.parametrize(
    ("shares", "patience", "over"),
    [
        ((), 2, False),
        ((None, None), 2, False),
        ((0.3, 0.2), 2, False),
        ((0.3, 0.2, 0.1), 2, True),
        ((0.3, 0.3, 0.3), 2, True),
        ((0.3, 0.2, 0.4, 0.1), 2, False),
        ((0.3, None, 0.2, None, None), 2, False),
        ((0.3, 0.2, 0.1), None, False),
        ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), 2, True),
    ],
)
def test_it_ends_after_so_many_evaluations_without_a_better_one(shares, patience, over: bool) -> None:
    """Epochs without an evaluation do not count; the last epoch ends it in any case."""
    assert is_over(history(*shares), TrainingConfig(epochs=6, patience=patience)) == over


def test_the_first_of_equals_is_the_best() -> None:
    """A later epoch must be better to take its place."""
    assert best(history(0.1, None, 0.3, 0.3))["epoch"] == 3
