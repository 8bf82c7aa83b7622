"""Counters and times."""

from __future__ import annotations

import time

import numpy as np
import pytest

from board_app.core.detections import Detections
from board_app.frames import Frame, Result, StageTimes
from board_app.metrics import Metrics, percentiles

PICTURE = np.zeros((2, 2, 3), np.uint8)


def result(dpu_ms: float, latency_ms: float = 5.0) -> Result:
    return Result(Frame(PICTURE, 0), Detections.empty(), StageTimes(1.0, dpu_ms, 2.0, latency_ms))


def test_nothing_measured() -> None:
    """Before the first frame there are zeros and None, no division by zero."""
    summary = Metrics(2).summary()
    assert summary["frames_in"] == summary["frames_done"] == summary["frames_dropped"] == 0
    assert summary["fps"] == summary["dpu_bound_fps"] == 0
    assert summary["latency_ms"] == {"p50": None, "p99": None}
    assert Metrics(2).counters()["fps"] == 0
    assert Metrics(2).seconds_since_last() is None


def test_percentiles_equal_numpy() -> None:
    """p50 and p99 are numpy's, to a microsecond."""
    samples = np.random.default_rng(0).gamma(2, 3, 500)
    expected = np.percentile(samples, [50, 99])
    assert list(percentiles(samples).values()) == pytest.approx(expected, abs=1e-3)


def test_dpu_bound_is_threads_over_mean_time() -> None:
    """Two threads at a mean of 10 ms could do 200 frames a second."""
    metrics = Metrics(2)
    for dpu_ms in (5.0, 15.0):
        metrics.frame_in(time.monotonic_ns())
        metrics.frame_done(result(dpu_ms))
    times = metrics.times()
    assert times["dpu_bound_fps"] == 200
    assert times["stages_ms"]["dpu"]["p50"] == 10
    assert times["stages_ms"]["preprocess"] == {"p50": 1, "p99": 1}


def test_in_is_done_plus_dropped_at_the_end() -> None:
    """Whatever came in and was not finished counts as dropped once the books are closed."""
    metrics = Metrics(1)
    for _ in range(5):
        metrics.frame_in(time.monotonic_ns())
    metrics.frame_done(result(1.0))
    metrics.frames_dropped(1)
    metrics.close_books()
    counters = metrics.counters()
    assert (counters["frames_in"], counters["frames_done"], counters["frames_dropped"]) == (5, 1, 4)


def test_current_rate_follows_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The current rate is that of the last seconds, and falls to zero when nothing comes any more."""
    now = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    metrics = Metrics(1)
    for _ in range(100):
        now[0] += 50_000_000
        metrics.frame_in(now[0])
        metrics.frame_done(result(1.0))
    assert metrics.counters()["fps"] == pytest.approx(20)
    now[0] += 2_000_000_000
    assert 0 < metrics.counters()["fps"] < 20
    now[0] += 2_000_000_000
    assert metrics.counters()["fps"] == 0
    assert metrics.seconds_since_last() == 4
