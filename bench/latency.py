"""Timing several sessions in one go, interleaved, so that a noisy machine hits all of them alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Protocol

WARM_UP = 5  # runs of every session before the first sample
BLOCK = 4  # samples in a row; an untimed run before them brings the network's weights back into the caches


class Runs(Protocol):
    """What is timed: a session of a backend, or anything else that runs."""

    def run(self) -> object:
        """Once, to its end."""


def warm_up(sessions: Mapping[str, Runs], seconds: float) -> None:
    """Run all sessions in turn for so long, until cores that slept and clocks that were low are there."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for session in sessions.values():
            session.run()


def interleaved(
    sessions: Mapping[str, Runs],
    samples: int,
    clock: Callable[[], int] = time.perf_counter_ns,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, list[float]]:
    """Time every session.

    Blocks of BLOCK samples of each session alternate, in an order shuffled anew (but the same every time) each round.

    Args:
        sessions: by any name.
        samples: of each.
        clock: nanoseconds.
        progress: called with the samples done of each session.
    Returns:
        All samples in ms by name, in the order taken, none left out.
    """
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    order = list(sessions)
    shuffle = random.Random(1)  # noqa: S311  an order, not a secret
    for session in sessions.values():
        for _ in range(WARM_UP):
            session.run()
    while order and len(taken[order[0]]) < samples:
        shuffle.shuffle(order)
        done = len(taken[order[0]])
        for name in order:
            session = sessions[name]
            session.run()
            for _ in range(min(BLOCK, samples - done)):
                start = clock()
                session.run()
                taken[name].append((clock() - start) / 1e6)
        progress(len(taken[order[0]]))
    return taken
