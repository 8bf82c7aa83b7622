"""When a trial is behind."""

from __future__ import annotations

import pytest

from compress.search.stopping import Course, is_behind

STEP = "distill 2/8"
FINISHED = [Course(ms, {STEP: map50}) for ms, map50 in ((1.0, 0.2), (2.0, 0.4), (3.0, 0.5), (4.0, 0.6), (9.0, 0.9))]


@pytest.mark.parametrize(
    ("step", "map50", "dpu_ms", "behind"),
    [
        (STEP, 0.44, 4.0, True),  # the median of the four no slower ones is 0.45
        (STEP, 0.46, 4.0, False),
        (STEP, 0.44, 3.95, True),  # a target in ms is met within 2 %
        (STEP, 0.0, 3.0, False),  # three are too few to tell
        (STEP, 0.49, 20.0, True),  # now the accurate one counts too: the median is 0.5
        (STEP, 0.5, 20.0, False),
        ("distill 3/8", 0.0, 20.0, False),  # nothing to compare with
    ],
)
def test_a_trial_is_behind_the_median_of_those_that_are_no_slower(
    step: str, map50: float, dpu_ms: float, behind: bool
) -> None:
    """A slower network's accuracy says nothing about a fast one's."""
    assert is_behind(step, map50, dpu_ms, FINISHED, peers=4) is behind
