"""The Pareto front and the point of it that is chosen."""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.search.front import Point, choose, pareto_front

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), max_size=12)


@given(PAIRS)
def test_the_front_is_the_one_that_optuna_finds(pairs: list[tuple[int, int]]) -> None:
    """Less repeated points, fastest first, and better with every step."""
    study = optuna.create_study(directions=("maximize", "minimize"))
    for pair in pairs:
        study.add_trial(optuna.create_trial(values=pair))
    front = pareto_front([Point(number, map50, ms) for number, (map50, ms) in enumerate(pairs)])
    assert [(point.map50, point.dpu_ms) for point in front] == sorted(
        {tuple(trial.values) for trial in study.best_trials}, key=lambda values: values[1]
    )


FRONT = [Point(3, 0.20, 1.0), Point(0, 0.50, 2.0), Point(7, 0.55, 4.0), Point(5, 0.60, 8.0)]


@pytest.mark.parametrize(
    ("rule", "max_ms", "number"),
    [
        ("max-map", None, 5),
        ("max-map", 8.0, 5),
        ("max-map", 7.9, 7),
        ("knee", None, 0),  # most of the gain for a third of the way
        ("knee", 4.0, 0),
        ("knee", 2.0, 0),  # of two points the more accurate
        ("knee", 1.5, 3),
        ("knee", 0.9, None),
        ("max-map", 0.9, None),
    ],
)
def test_a_point_is_chosen(rule, max_ms: float | None, number: int | None) -> None:
    """By its rule, among those that are fast enough; none where none is."""
    chosen = choose(FRONT, rule, max_ms)
    assert (chosen and chosen.number) == number


def test_a_front_without_a_bend_has_no_knee() -> None:
    """Then it is the most accurate point that is chosen."""
    front = [Point(0, 0.1, 1.0), Point(1, 0.2, 2.0), Point(2, 0.4, 4.0)]
    assert choose(front, "knee") == front[-1]


def test_nothing_is_chosen_of_nothing() -> None:
    """An empty front."""
    assert pareto_front([]) == [] and choose([], "knee") is None
