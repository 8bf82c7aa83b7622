"""The pipeline: order, drops, failures, endings."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from board_app.core.detector import Detector
from board_app.core.errors import RunnerError, SourceError
from board_app.frames import Frame, Result, Source
from board_app.made_sources import FakeSource
from board_app.metrics import Metrics
from board_app.pipeline import Pipeline, Run, Sink
from board_app.testing import SQUARES, square_heads


class ListSource(Source):
    """Gives `count` red-cornered pictures, at once or at a rate."""

    name = "list"

    def __init__(self, count: int, live_fps: float | None = None) -> None:
        self.count, self.is_live, self.interval_s = count, live_fps is not None, 1 / live_fps if live_fps else 0
        self.closed = False

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        for index in range(self.count):
            image = np.full((64, 64, 3), 90, np.uint8)
            image[: 16 * (index % 2)] = (0, 0, 255)
            yield Frame(image, index)
            if self.interval_s:
                time.sleep(self.interval_s)

    def close(self) -> None:
        self.closed = True


class Collected(Sink):
    def __init__(self) -> None:
        self.results: list[Result] = []
        self.closed = 0

    def write(self, result: Result) -> None:
        self.results.append(result)

    def close(self) -> None:
        self.closed += 1


def network(pause_s: Callable[[], float] = lambda: 0.0) -> Run:
    def run(picture: np.ndarray) -> list[np.ndarray]:
        time.sleep(pause_s())
        heads = square_heads(picture, SQUARES)
        return [heads[head.output][0] for head in SQUARES.heads]

    return run


def run_pipeline(
    source: Source, runs: list[Run], seconds: float | None = None, **options: Any
) -> tuple[list[Result], dict[str, Any]]:
    sink, metrics = Collected(), Metrics(len(runs))
    pipeline = Pipeline(source, Detector(SQUARES, lambda picture: []), runs, [sink], metrics, **options)
    threads = threading.active_count()
    try:
        pipeline.run(seconds)
    finally:
        assert sink.closed == 1
        assert threading.active_count() <= threads
    return sink.results, metrics.summary()


def test_a_source_without_frames() -> None:
    """No frames in, none out, and everything ends."""
    results, summary = run_pipeline(ListSource(0), [network()])
    assert results == [] and summary["frames_in"] == 0


def test_results_keep_the_order_of_capture() -> None:
    """With four runners of random speed every frame of a file arrives once, in order, with its own detections."""
    rng = random.Random(1)
    source = ListSource(60)
    results, summary = run_pipeline(source, [network(lambda: rng.uniform(0, 0.01)) for _ in range(4)])
    assert [result.frame.index for result in results] == list(range(60))
    assert [len(result.detections) for result in results] == [4 * (index % 2) for index in range(60)]
    assert (summary["frames_in"], summary["frames_done"], summary["frames_dropped"]) == (60, 60, 0)
    assert source.closed


def test_runners_work_at_once() -> None:
    """Two runners halve the time of one; the DPU's bound says so."""
    start = time.monotonic()
    _, summary = run_pipeline(ListSource(50), [network(lambda: 0.02) for _ in range(2)])
    assert time.monotonic() - start < 0.9  # one runner alone would take 1 s
    assert 40 < summary["dpu_bound_fps"] <= 100


def test_a_live_source_drops_the_oldest() -> None:
    """A source faster than the DPU loses frames, counted, in order; what comes out is recent."""
    results, summary = run_pipeline(ListSource(60, live_fps=300), [network(lambda: 0.03)])
    indices = [result.frame.index for result in results]
    assert indices == sorted(indices) and indices[-1] == 59
    assert summary["frames_dropped"] > 20
    assert summary["frames_in"] == 60 == summary["frames_done"] + summary["frames_dropped"]
    # Two waiting, one prepared, one being prepared, one on the DPU, each 30 ms: older than that it never gets.
    assert max(result.times.latency_ms for result in results) < 1000


def test_times_are_measured() -> None:
    """Stage times and latency are what they were, the DPU's at least its pause."""
    results, summary = run_pipeline(ListSource(10), [network(lambda: 0.01)])
    for result in results:
        assert result.times.dpu_ms >= 10
        assert result.times.latency_ms >= result.times.dpu_ms + result.times.preprocess_ms
    assert summary["stages_ms"]["dpu"]["p50"] >= 10


def test_max_frames() -> None:
    """Capture ends after so many frames, all of which are finished."""
    results, summary = run_pipeline(FakeSource((48, 64), None), [network()], max_frames=7)
    assert len(results) == 7 and summary["frames_in"] == 7


def test_seconds() -> None:
    """The run ends after the given time, with nothing lost unaccounted."""
    start = time.monotonic()
    results, summary = run_pipeline(FakeSource((48, 64), 50.0), [network()], seconds=0.4)
    assert 0.4 <= time.monotonic() - start < 2
    assert 3 <= len(results) <= 22
    assert summary["frames_in"] == summary["frames_done"] + summary["frames_dropped"]


def test_a_file_stopped_early_drops_nothing() -> None:
    """Stopping in the middle of a file finishes what was taken up; nothing counts as dropped."""
    results, summary = run_pipeline(FakeSource((48, 64), None), [network(lambda: 0.03)], seconds=0.2)
    assert len(results) >= 3
    assert summary["frames_dropped"] == 0 and summary["frames_in"] == len(results)


def test_a_failing_runner_ends_the_run() -> None:
    """An error on the DPU comes out of the pipeline, and nothing hangs."""
    calls = iter(range(1000))

    def fails(picture: np.ndarray) -> list[np.ndarray]:
        if next(calls) == 5:
            raise RunnerError("the DPU is on fire")
        return network()(picture)

    with pytest.raises(RunnerError, match="on fire"):
        run_pipeline(FakeSource((48, 64), None), [fails, fails])


def test_a_failing_source_ends_the_run() -> None:
    """Frames before the source's failure are not lost silently: the error comes out."""

    class Breaking(ListSource):
        def frames(self, stop: threading.Event) -> Iterator[Frame]:
            yield from super().frames(stop)
            raise SourceError("cable cut")

    with pytest.raises(SourceError, match="cable cut"):
        run_pipeline(Breaking(3), [network()])


def test_a_failing_sink_ends_the_run() -> None:
    """A full disk in a sink comes out of the pipeline."""

    class Full(Collected):
        def write(self, result: Result) -> None:
            raise OSError(28, "No space left on device")

    pipeline = Pipeline(ListSource(50), Detector(SQUARES, lambda picture: []), [network()], [Full()], Metrics(1))
    with pytest.raises(OSError, match="No space left"):
        pipeline.run()


def test_every_sink_is_closed() -> None:
    """A sink that cannot be closed does not keep the others from finishing what they have."""

    class Full(Collected):
        def close(self) -> None:
            raise OSError(28, "No space left on device")

    before, after = Collected(), Collected()
    sinks = [before, Full(), after]
    pipeline = Pipeline(ListSource(3), Detector(SQUARES, lambda picture: []), [network()], sinks, Metrics(1))
    with pytest.raises(OSError, match="No space left"):
        pipeline.run()
    assert (before.closed, after.closed) == (1, 1)


def test_a_hanging_camera_does_not_hold_the_end_up() -> None:
    """When the source is stuck in its device, stopping still ends the run, with the frames it gave."""
    release = threading.Event()

    class Hanging(ListSource):
        def frames(self, stop: threading.Event) -> Iterator[Frame]:
            yield from super().frames(stop)
            release.wait(20)

    sink, metrics = Collected(), Metrics(1)
    pipeline = Pipeline(Hanging(3, live_fps=100), Detector(SQUARES, lambda p: []), [network()], [sink], metrics)
    start = time.monotonic()
    pipeline.run(seconds=0.3)
    assert time.monotonic() - start < 5
    assert len(sink.results) == 3
    release.set()
