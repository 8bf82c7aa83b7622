"""Counters and times of a run."""

from __future__ import annotations

import resource
import threading
import time
from collections import deque
from typing import Any, Deque, Dict, Iterable, Optional

import numpy as np

from board_app.frames import Result

WINDOW_S = 3.0  # over which the current frame rate is taken
KEPT_SAMPLES = 20_000  # newest times kept for percentiles: 11 minutes at 30 fps, 640 kB
STAGES = ("preprocess", "dpu", "postprocess")


def percentiles(samples_ms: Iterable[float]) -> Dict[str, Optional[float]]:
    """p50 and p99 in milliseconds, None where nothing was measured."""
    values = np.fromiter(samples_ms, np.float64)
    if not len(values):
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


class Metrics:
    """What happened so far; every method may be called from any thread.

    Args:
        threads: runner threads, for `dpu_bound_fps`.
    Attributes:
        origin: of the DPU's times, and so of every rate and latency; None until the runners are open.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.origin: Optional[str] = None
        self._lock = threading.Lock()
        self._frames_in = 0
        self._frames_done = 0
        self._frames_dropped = 0
        self._detections = 0
        self._first_ns: Optional[int] = None
        self._last_ns: Optional[int] = None
        self._dpu_ms_sum = 0.0
        self._done_ns: Deque[int] = deque()
        self._latency: Deque[float] = deque(maxlen=KEPT_SAMPLES)
        self._stages: Dict[str, Deque[float]] = {stage: deque(maxlen=KEPT_SAMPLES) for stage in STAGES}

    def frame_in(self, t_monotonic_ns: int) -> None:
        """A frame was captured."""
        with self._lock:
            self._frames_in += 1
            if self._first_ns is None:
                self._first_ns = t_monotonic_ns

    def frame_refused(self) -> None:
        """The last frame that came in was not taken up, since the run was ending: it does not count."""
        with self._lock:
            self._frames_in -= 1

    def frames_dropped(self, count: int) -> None:
        """So many frames were dropped since the start."""
        with self._lock:
            self._frames_dropped = count

    def frame_done(self, result: Result) -> None:
        """A frame went through every stage."""
        now = time.monotonic_ns()
        with self._lock:
            self._frames_done += 1
            self._detections += len(result.detections)
            self._last_ns = now
            self._dpu_ms_sum += result.times.dpu_ms
            self._latency.append(result.times.latency_ms)
            for stage, samples in self._stages.items():
                samples.append(getattr(result.times, f"{stage}_ms"))
            self._done_ns.append(now)
            self._forget_old(now)

    def _forget_old(self, now_ns: int) -> None:
        while self._done_ns and now_ns - self._done_ns[0] > WINDOW_S * 1e9:
            self._done_ns.popleft()

    def close_books(self) -> None:
        """At the end: a frame that came in and is not done was dropped."""
        with self._lock:
            self._frames_dropped = self._frames_in - self._frames_done

    @property
    def frames_done(self) -> int:
        """Frames that went through every stage."""
        with self._lock:
            return self._frames_done

    def seconds_since_last(self) -> Optional[float]:
        """Since the last result; None before the first."""
        with self._lock:
            return None if self._last_ns is None else (time.monotonic_ns() - self._last_ns) / 1e9

    def counters(self) -> Dict[str, Any]:
        """`frames_in`, `frames_done`, `frames_dropped`, the current `fps` (over the last 3 s) and `origin`."""
        with self._lock:
            now = time.monotonic_ns()
            self._forget_old(now)
            times = self._done_ns
            # n results span n-1 intervals; while none comes, the growing silence pulls the rate down.
            span_ns = max(times[-1] - times[0], now - times[0] - WINDOW_S * 1e9 / 3) if len(times) > 1 else 0
            return {
                "frames_in": self._frames_in,
                "frames_done": self._frames_done,
                "frames_dropped": self._frames_dropped,
                "fps": round((len(times) - 1) / span_ns * 1e9, 2) if span_ns > 0 else 0.0,
                "origin": self.origin,
            }

    def times(self, newest: int = KEPT_SAMPLES) -> Dict[str, Any]:
        """`latency_ms` and `stages_ms`, p50 and p99 over so many of the newest frames, and `dpu_bound_fps`.

        `dpu_bound_fps` is what the DPU stage alone would allow: runner threads / mean time of one run. The time of
        a run contains the wait for a free core, so with more threads than cores it is right once the DPU is the
        bottleneck, and too high while it idles.
        """
        with self._lock:
            mean_ms = self._dpu_ms_sum / self._frames_done if self._frames_done else 0.0
            latency = list(self._latency)[-newest:]
            stages = {stage: list(samples)[-newest:] for stage, samples in self._stages.items()}
        return {
            "dpu_bound_fps": round(1000 * self.threads / mean_ms, 2) if mean_ms > 0 else 0.0,
            "latency_ms": percentiles(latency),
            "stages_ms": {stage: percentiles(samples) for stage, samples in stages.items()},
        }

    def summary(self) -> Dict[str, Any]:
        """The whole run; `fps` = frames done / seconds from the first capture to the last result."""
        with self._lock:
            seconds = 0.0
            if self._first_ns is not None and self._last_ns is not None:
                seconds = (self._last_ns - self._first_ns) / 1e9
            document: Dict[str, Any] = {
                "frames_in": self._frames_in,
                "frames_done": self._frames_done,
                "frames_dropped": self._frames_dropped,
                "detections": self._detections,
                "seconds": round(seconds, 3),
                "fps": round(self._frames_done / seconds, 2) if seconds > 0 else 0.0,
                "origin": self.origin,
            }
        document.update(self.times())
        document["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        return document
