"""Workers that share a search through its storage: taking trials, signs of life, and dead workers' trials.

A worker at work writes a sign of life every `beat_s` seconds. Another one that sees no new sign for `dead_after_s`, by
its own clock, puts the trial up again with the same settings. Optuna's own heartbeat is experimental and for databases
alone; this is the same for every storage.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from optuna import Study
from optuna.exceptions import OptunaError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from compress.search.slots import ENDED, FAILED, PLACE, SURPLUS, Slot, counted, is_wanted, place_of, slots_of

log = logging.getLogger(__name__)
_BEAT = "beat"


class TakenUp(Exception):
    """This worker's trial went to another one, since this one gave no sign of life."""


@dataclass(frozen=True)
class Pulse:
    """How often a worker at work gives a sign, after how long without one it is taken for dead, how often one looks."""

    beat_s: float = 15.0
    dead_after_s: float = 90.0
    look_s: float = 5.0


class Worker:
    """One of the processes that work on a study.

    Args:
        study: theirs all.
        wanted: finished trials in all, of all workers and of earlier runs.
        pulse: the same for all workers.
    """

    def __init__(self, study: Study, wanted: int, pulse: Pulse) -> None:
        self._study = study
        self._wanted = wanted
        self._pulse = pulse
        self._seen: dict[int, tuple[object, float]] = {}  # of an attempt its last sign, and since when it is the last

    def slots(self) -> list[Slot]:
        """All places of the study, as they are now."""
        return slots_of(self._study.get_trials(deepcopy=False))

    def take(self) -> Trial | None:
        """The next trial to run, or None when all are finished; waits while others work on the last ones."""
        waits = False
        while True:
            self._take_up_the_dead()
            slots = counted(self.slots(), self._wanted)
            if sum(slot.is_finished for slot in slots) == self._wanted:
                return None
            if len(slots) < self._wanted or any(slot.current.state is TrialState.WAITING for slot in slots):
                trial = self._study.ask()
                if is_wanted(trial, self.slots(), self._wanted):
                    return trial
                trial.set_user_attr(ENDED, SURPLUS)
                self._end(trial)
                continue
            if not waits:
                log.info("search: the last trials are with other workers; this one waits, in case one of them dies")
                waits = True
            time.sleep(self._pulse.look_s)

    @contextmanager
    def at_work(self, trial: Trial) -> Iterator[threading.Event]:
        """Signs of life while the trial is run; an interrupt or an unforeseen error puts it up again.

        Yields:
            An event that is set when another worker has taken up the trial.
        Raises:
            TakenUp: one has.
        """
        stop, gone = threading.Event(), threading.Event()
        thread = threading.Thread(target=self._give_signs, args=(trial, stop, gone), daemon=True)
        thread.start()
        try:
            yield gone
        except TakenUp:
            raise
        except UpdateFinishedTrialError as error:
            raise TakenUp from error
        except BaseException:
            self._put_up_again(trial)
            raise
        finally:
            stop.set()
            thread.join()

    def finish(self, trial: Trial, values: Sequence[float] | None) -> None:
        """Give a trial its result: the objectives, or None where it was stopped early.

        Raises:
            TakenUp: another worker has it now, and this result is not counted.
        """
        state = TrialState.PRUNED if values is None else TrialState.COMPLETE
        try:
            self._study.tell(trial, values, state)
        except (UpdateFinishedTrialError, ValueError) as error:
            raise TakenUp from error

    def fail(self, trial: Trial, reason: str) -> None:
        """End a trial whose settings cannot be run: it does not count, but tells the sampler where not to look."""
        trial.set_constraint("can be run", 1.0)  # above 0 is broken, and of failed trials samplers see only the pruned
        trial.set_user_attr("reason", reason)
        trial.set_user_attr(ENDED, FAILED)
        self._end(trial, TrialState.PRUNED)

    def _end(self, trial: Trial | FrozenTrial, state: TrialState = TrialState.FAIL) -> bool:
        """End an attempt without a result; False where somebody else ended it already."""
        try:
            self._study.tell(trial.number, state=state)
        except (UpdateFinishedTrialError, ValueError):
            return False
        return True

    def _put_up_again(self, trial: Trial | FrozenTrial) -> bool:
        """End an attempt and queue another; only one worker does it."""
        ended = self._end(trial)
        if ended:
            self._queue(trial)
        return ended

    def _queue(self, trial: Trial | FrozenTrial) -> None:
        """Let the trial wait for a worker, with the settings that it has and what is known of it."""
        kept = {name: value for name, value in trial.user_attrs.items() if name != _BEAT}
        again = create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=kept | {PLACE: place_of(trial)},
        )
        self._study.add_trial(again)

    def _take_up_the_dead(self) -> None:
        for slot in self.slots():
            attempt = slot.current
            if attempt.state is TrialState.RUNNING and self._is_unchanged(attempt):
                if self._put_up_again(attempt):
                    seconds = self._pulse.dead_after_s
                    log.warning(
                        "trial %d: no sign of its worker for %g s, so it is taken up again", slot.number, seconds
                    )
            elif slot.is_lost and self._is_unchanged(attempt):  # who ended it died before it was queued again
                self._queue(attempt)

    def _is_unchanged(self, attempt: FrozenTrial) -> bool:
        """Whether an attempt has been seen as it is for longer than a worker alive would leave it."""
        sign = (attempt.state, attempt.user_attrs.get(_BEAT))
        sign_before, since = self._seen.get(attempt.number, (None, 0.0))
        if sign != sign_before:
            self._seen[attempt.number] = (sign, time.monotonic())
            return False
        return time.monotonic() - since > self._pulse.dead_after_s

    def _give_signs(self, trial: Trial, stop: threading.Event, gone: threading.Event) -> None:
        beat = 0
        while not gone.is_set():
            beat += 1
            try:
                trial.set_user_attr(_BEAT, beat)
            except UpdateFinishedTrialError:
                gone.set()
            except (OptunaError, SQLAlchemyError, OSError) as error:
                log.warning("trial %d: no sign of life written: %s", trial.number, type(error).__name__)
            if stop.wait(self._pulse.beat_s):
                return
