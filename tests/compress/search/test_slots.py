"""Which places of a search are finished, void or lost."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from compress.search.slots import ENDED, FAILED, PLACE, SURPLUS, counted, is_wanted, slots_of

DONE, PRUNED, RUN, WAIT, FAIL = (
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.RUNNING,
    TrialState.WAITING,
    TrialState.FAIL,
)


def trials(*rows: tuple[Any, ...]) -> list[FrozenTrial]:
    """Of rows (state, place or None, why it ended or None), numbered in order."""
    made = []
    for number, (state, *rest) in enumerate(rows):
        place, ended = [*rest, None, None][:2]
        known = ({} if place is None else {PLACE: place}) | ({} if ended is None else {ENDED: ended})
        values = [0.5, 1.0] if state is DONE else None
        trial = optuna.create_trial(state=state, values=values, user_attrs=known)
        trial.number = number
        made.append(trial)
    return made


@pytest.mark.parametrize(
    ("attempts", "stands"),
    [
        ([], []),
        ([(DONE,)], ["finished"]),
        ([(PRUNED,)], ["finished"]),
        ([(RUN,)], ["open"]),
        ([(FAIL,)], ["lost"]),
        ([(FAIL,), (WAIT, 0)], ["open"]),
        ([(FAIL,), (FAIL, 0)], ["lost"]),
        ([(FAIL,), (DONE, 0)], ["finished"]),
        ([(PRUNED, None, FAILED)], ["void"]),
        ([(FAIL,), (PRUNED, 0, FAILED)], ["void"]),
        ([(FAIL, None, SURPLUS)], ["void"]),
        ([(FAIL,), (FAIL, 0), (FAIL, 0, SURPLUS)], ["lost"]),  # queued twice by accident: the place is still wanted
        ([(FAIL,), (DONE,), (RUN, 0), (WAIT,)], ["open", "finished", "open"]),
    ],
)
def test_how_a_place_stands(attempts: list[tuple[Any, ...]], stands: list[str]) -> None:
    """Whatever attempts it took, it counts once."""
    slots = slots_of(trials(*attempts))
    names = [
        "finished" if slot.is_finished else "void" if slot.is_void else "lost" if slot.is_lost else "open"
        for slot in slots
    ]
    assert names == stands


def test_the_lower_numbers_are_wanted() -> None:
    """Of three that began at once where two are wanted; a place that failed makes room for a later one."""
    begun = trials((RUN,), (RUN,), (RUN,))
    assert [is_wanted(trial, slots_of(begun), 2) for trial in begun] == [True, True, False]
    begun = trials((PRUNED, None, FAILED), (RUN,), (RUN,), (RUN,))
    assert [is_wanted(trial, slots_of(begun), 2) for trial in begun] == [False, True, True, False]
    assert [slot.number for slot in counted(slots_of(begun), 2)] == [1, 2]


def test_one_attempt_has_a_place() -> None:
    """Where a trial was queued twice, the first at work has it; a finished one leaves nothing to do."""
    twice = trials((FAIL,), (RUN, 0), (RUN, 0))
    assert [is_wanted(trial, slots_of(twice), 1) for trial in twice] == [False, True, False]
    done = trials((DONE,), (RUN, 0))
    assert not is_wanted(done[1], slots_of(done), 1)
