"""The way of a frame: source -> preprocess -> DPU (several runners) -> postprocess, in order again -> sinks.

    source thread --capture--> preprocess --prepared--> runner 0..N-1 --raw--> postprocess --results--> sinks

Each arrow is a bounded queue. Only `capture` may drop (live sources: DROP_OLDEST); the others block, so
a frame that was taken up is finished, and the order of the results is the order of capture. At most two
frames more than there are runners are under way between capture and result: whichever stage is the slow one,
the waiting is done in `capture`, where old frames go first, and results stay young.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Protocol, Sequence, Tuple

import numpy as np

from board_app.bounded_queue import BoundedQueue, Policy, QueueClosedError
from board_app.core.detector import Detector
from board_app.core.int8_input import quantise_pixels
from board_app.core.letterbox import LetterboxTransform
from board_app.frames import Frame, Result, Source, StageTimes
from board_app.metrics import Metrics

_log = logging.getLogger(__name__)

WAITING_FRAMES = 2  # in `capture`; more would only make live pictures older, and files need no more
END_TIMEOUT_S = 15.0  # for the frames under way once the source has ended

Run = Callable[[np.ndarray], List[np.ndarray]]


class Sink(Protocol):
    """Takes the results in order; called from one thread."""

    def write(self, result: Result) -> None:
        """Take one result."""

    def close(self) -> None:
        """No more results come."""


@dataclass(frozen=True)
class _Prepared:
    sequence: int
    frame: Frame
    picture: np.ndarray  # int8 (H, W, 3)
    transform: LetterboxTransform
    preprocess_ms: float


@dataclass(frozen=True)
class _Raw:
    prepared: _Prepared
    heads: List[np.ndarray]
    dpu_ms: float


def _ms_since(start_ns: int) -> float:
    return (time.perf_counter_ns() - start_ns) / 1e6


class Pipeline:
    """Runs a source through a detector once.

    Args:
        source: where the pictures come from; the pipeline closes it.
        detector: for the steps before and after the network (its `forward` is not used).
        runs: the network's int8 run, one callable per runner thread.
        sinks: what to do with the results; the pipeline closes them.
        metrics: counted into.
        max_frames: stop capturing after so many.
    """

    def __init__(
        self,
        source: Source,
        detector: Detector,
        runs: Sequence[Run],
        sinks: Sequence[Sink],
        metrics: Metrics,
        max_frames: Optional[int] = None,
    ) -> None:
        self._source, self._detector, self._sinks, self._metrics = source, detector, sinks, metrics
        self._max_frames = max_frames
        self._capture: BoundedQueue[Frame] = BoundedQueue(
            WAITING_FRAMES, Policy.DROP_OLDEST if source.is_live else Policy.BLOCK
        )
        self._prepared: BoundedQueue[_Prepared] = BoundedQueue(len(runs))
        self._raw: BoundedQueue[_Raw] = BoundedQueue(len(runs))
        self._results: BoundedQueue[Result] = BoundedQueue(2)
        self._slots = threading.Semaphore(len(runs) + 2)
        self._stop = threading.Event()
        self._abandoned = threading.Event()
        self._failure: Optional[Tuple[str, BaseException]] = None
        self._lock = threading.Lock()
        self._runners_left = len(runs)
        self._threads = [self._thread("source", self._capture_frames), self._thread("preprocess", self._preprocess)]
        self._threads += [self._thread(f"runner-{n}", self._run_network, run) for n, run in enumerate(runs)]
        self._threads += [self._thread("postprocess", self._postprocess), self._thread("sinks", self._deliver)]

    def _thread(self, name: str, work: Callable[..., None], *args: Any) -> threading.Thread:
        def top() -> None:
            try:
                work(*args)
            except QueueClosedError:
                pass  # another stage failed and told all queues
            except Exception as error:  # the top of a thread: told to the main thread, which raises it
                with self._lock:
                    if self._failure is None:
                        self._failure = (name, error)
                self._stop.set()
                self._abandon()

        return threading.Thread(target=top, name=name, daemon=True)

    def _abandon(self) -> None:
        """Let every stage end at once, with what it holds."""
        self._abandoned.set()
        for queue in (self._capture, self._prepared, self._raw, self._results):
            queue.abort()

    def _capture_frames(self) -> None:
        try:
            taken = 0
            if self._max_frames == 0:
                return
            for frame in self._source.frames(self._stop):
                self._metrics.frame_in(frame.t_monotonic_ns)
                try:
                    self._capture.put(frame)
                except QueueClosedError:  # the end came while it waited to be taken up
                    self._metrics.frame_refused()
                    return
                self._metrics.frames_dropped(self._capture.dropped)
                taken += 1
                if self._stop.is_set() or taken == self._max_frames:
                    return
        finally:
            self._capture.close()
            self._source.close()

    def _preprocess(self) -> None:
        spec = self._detector.spec
        try:
            self._take_slot()  # before the frame, so that the frame taken then is the newest
            for sequence, frame in enumerate(self._capture):
                start_ns = time.perf_counter_ns()
                picture, transform = self._detector.preprocess(frame.image_bgr)
                pixels = quantise_pixels(picture, spec.input_fix_point, spec.pixel_scale)
                self._prepared.put(_Prepared(sequence, frame, pixels, transform, _ms_since(start_ns)))
                self._take_slot()
        finally:
            self._prepared.close()

    def _take_slot(self) -> None:
        while not self._slots.acquire(timeout=0.1):
            if self._abandoned.is_set():
                raise QueueClosedError

    def _run_network(self, run: Run) -> None:
        try:
            for prepared in self._prepared:
                start_ns = time.perf_counter_ns()
                heads = run(prepared.picture)
                self._raw.put(_Raw(prepared, heads, _ms_since(start_ns)))
        finally:
            with self._lock:
                self._runners_left -= 1
                last = self._runners_left == 0
            if last:
                self._raw.close()

    def _postprocess(self) -> None:
        waiting: Dict[int, _Raw] = {}
        due = 0
        try:
            for raw in self._raw:
                waiting[raw.prepared.sequence] = raw
                while due in waiting:
                    result = self._finish(waiting.pop(due))
                    self._slots.release()
                    self._results.put(result)
                    due += 1
        finally:
            self._results.close()

    def _finish(self, raw: _Raw) -> Result:
        start_ns = time.perf_counter_ns()
        prepared = raw.prepared
        detections = self._detector.postprocess(raw.heads, prepared.transform)
        latency_ms = (time.monotonic_ns() - prepared.frame.t_monotonic_ns) / 1e6
        times = StageTimes(prepared.preprocess_ms, raw.dpu_ms, _ms_since(start_ns), latency_ms)
        return Result(prepared.frame, detections, times)

    def _deliver(self) -> None:
        with ExitStack() as stack:  # one that cannot be closed (disk full) must not keep the others open
            for sink in self._sinks:
                stack.callback(sink.close)
            for result in self._results:
                for sink in self._sinks:
                    sink.write(result)
                self._metrics.frame_done(result)

    def stop(self) -> None:
        """Take no more frames; those under way are finished. May be called from a signal handler."""
        self._stop.set()

    def run(self, seconds: Optional[float] = None) -> None:
        """Run until the source ends, `stop` is called, or so many seconds have passed.

        Raises:
            RoadslimError and others: what made a stage fail; the message names the stage for unforeseen ones.
        """
        for thread in self._threads:
            thread.start()
        deadline = None if seconds is None else time.monotonic() + seconds
        while self._threads[-1].is_alive() and not self._stop.is_set():
            if deadline is not None and time.monotonic() >= deadline:
                self._stop.set()
            self._threads[-1].join(0.05)
        self._capture.close()  # a source that hangs in its camera must not keep the others waiting
        self._join()
        self._metrics.close_books()
        if self._failure is not None:
            stage, error = self._failure
            _log.debug("stage %s failed", stage)
            raise error

    def _join(self) -> None:
        deadline = time.monotonic() + END_TIMEOUT_S
        for thread in self._threads[1:]:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._threads[0].join(1.0)
        late = [thread.name for thread in self._threads if thread.is_alive()]
        if late:
            _log.warning(
                "these stages did not end within %.0f s and are left behind: %s", END_TIMEOUT_S, ", ".join(late)
            )
            self._abandon()
