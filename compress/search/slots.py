"""The places of a search: N trials are wanted, each may take several attempts, and each counts once.

A place is a trial's number. An attempt that ended without a result, since its worker died or was interrupted, leaves
its place to a later attempt with the same settings. All workers read the places off the same list of attempts, and the
lower number goes first, so they agree without asking each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, Trial, TrialState

PLACE = "place"  # the attribute of an attempt that takes up an older one: that one's place
ENDED = "ended"  # the attribute of an attempt that neither counts nor is to be taken up: why
FAILED, SURPLUS = "failed", "surplus"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_FIRST = (*FINISHED, TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True)
class Slot:
    """One place and its attempts in the order in which they began."""

    number: int
    attempts: tuple[FrozenTrial, ...]

    @property
    def current(self) -> FrozenTrial:
        """The attempt that says how the place stands: a finished one, else one at work, else one that waits."""
        for state in _FIRST:
            for attempt in self.attempts:
                if attempt.state is state:
                    return attempt
        ended = [attempt for attempt in self.attempts if attempt.user_attrs.get(ENDED) != SURPLUS]
        return (ended or self.attempts)[-1]

    @property
    def is_finished(self) -> bool:
        """Whether it has its result; a trial that was stopped early has one too."""
        return self.current.state in FINISHED and not self.is_void

    @property
    def is_void(self) -> bool:
        """Whether it counts for nothing: its settings cannot be run, or it was one too many."""
        return ENDED in self.current.user_attrs

    @property
    def is_lost(self) -> bool:
        """Whether it ended without a result and nothing waits in its place: it must be put up again."""
        return self.current.state is TrialState.FAIL and not self.is_void


def place_of(trial: FrozenTrial | Trial) -> int:
    """The place that an attempt is for."""
    return int(trial.user_attrs.get(PLACE, trial.number))


def slots_of(trials: Sequence[FrozenTrial]) -> list[Slot]:
    """All places, by number."""
    attempts: dict[int, list[FrozenTrial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        attempts.setdefault(place_of(trial), []).append(trial)
    return [Slot(place, tuple(attempts[place])) for place in sorted(attempts)]


def counted(slots: Sequence[Slot], wanted: int) -> list[Slot]:
    """The places that make up the search: the first `wanted` that count for something."""
    return [slot for slot in slots if not slot.is_void][:wanted]


def is_wanted(trial: FrozenTrial | Trial, slots: Sequence[Slot], wanted: int) -> bool:
    """Whether an attempt that just began is to be run: its place counts, and it alone has it."""
    return any(slot.current.number == trial.number for slot in counted(slots, wanted))
