"""Interleaved timing, on a clock and sessions of our own."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.latency import BLOCK, WARM_UP, interleaved


class _Clock:
    """A clock that only moves when a session runs."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.log: list[str] = []

    def __call__(self) -> int:
        return self.now_ns


class _Session:
    settings: dict[str, Any] = {}

    def __init__(self, name: str, clock: _Clock, ms: float) -> None:
        self.name, self.clock, self.ms = name, clock, ms

    def run(self) -> None:
        self.clock.now_ns += round(self.ms * 1e6)
        self.clock.log.append(self.name)

    def forward(self, picture_rgb: np.ndarray) -> list[np.ndarray]:
        return []


def test_samples_are_each_sessions_own_time() -> None:
    """Every session gets as many samples as asked for, each the time of one of its runs."""
    clock = _Clock()
    sessions = {"slow": _Session("slow", clock, 20), "fast": _Session("fast", clock, 1.5)}
    taken = interleaved(sessions, 10, clock)
    assert taken == {"slow": [20.0] * 10, "fast": [1.5] * 10}


def test_sessions_alternate_after_a_warm_up() -> None:
    """All warm up first, then take turns in blocks that begin with an untimed run."""
    clock = _Clock()
    sessions = {name: _Session(name, clock, 1) for name in "abc"}
    interleaved(sessions, 3 * BLOCK, clock)
    rounds = clock.log[3 * WARM_UP :]
    assert sorted(clock.log[: 3 * WARM_UP]) == sorted("abc" * WARM_UP)
    size = 3 * (BLOCK + 1)
    assert len(rounds) == 3 * size
    for first in range(0, len(rounds), size):
        assert sorted(rounds[first : first + size]) == sorted("abc" * (BLOCK + 1))


def test_tells_progress() -> None:
    """Progress is told in samples done and ends at their number."""
    clock = _Clock()
    told: list[int] = []
    interleaved({"a": _Session("a", clock, 1)}, BLOCK + 1, clock, told.append)
    assert told == [BLOCK, BLOCK + 1]
