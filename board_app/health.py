"""What the running application knows of itself, for /healthz and the page."""

from __future__ import annotations

import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from board_app.core.bundle import Bundle
from board_app.frames import Result, Source
from board_app.metrics import Metrics

NEWEST = 300  # frames over which the page shows times: the last 10 s at 30 fps
SILENT_S = 10.0  # a live source that gives nothing for so long is ill


class Health:
    """Filled in while the application starts and runs; every method may be called from any thread.

    Args:
        release: which release this is, None where nobody said.
        metrics: of the run.
    """

    def __init__(self, release: Optional[str], metrics: Metrics) -> None:
        self.release = release
        self.metrics = metrics
        self._lock = threading.Lock()
        self._phase = "the application is starting"
        self._bundle: Optional[Bundle] = None
        self._source: Optional[Source] = None
        self._latest: Optional[Result] = None
        self._last_found: Optional[Result] = None

    def enter(self, phase: str) -> None:
        """What is being done before the first frame, such as `the model is being loaded`."""
        with self._lock:
            self._phase = phase

    def has(self, bundle: Bundle, source: Source) -> None:
        """The bundle and the source are known."""
        with self._lock:
            self._bundle, self._source = bundle, source

    def write(self, result: Result) -> None:
        """Take the latest result; the health is a sink of the pipeline."""
        with self._lock:
            self._latest = result
            if len(result.detections):
                self._last_found = result

    def close(self) -> None:
        """No more results come; the last one stays to be shown."""

    def latest(self) -> Optional[Result]:
        """The newest result, None before the first."""
        with self._lock:
            return self._latest

    def names(self) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
        """Classes and labels, empty before the bundle is known."""
        with self._lock:
            return ((), ()) if self._bundle is None else (self._bundle.spec.classes, self._bundle.labels)

    def _reasons(self) -> List[str]:
        silent_s = self.metrics.seconds_since_last()
        if silent_s is None:
            return [f"no frame has gone through the DPU yet: {self._phase}"]
        if self._source is not None and self._source.is_live and silent_s > SILENT_S:
            return [f"{self._source.name} has given no frame for {silent_s:.0f} s"]
        return []

    def healthz(self) -> Dict[str, Any]:
        """The document of /healthz: healthy once the first frame has gone through the DPU, until a live source ends."""
        with self._lock:
            reasons = self._reasons()
            document: Dict[str, Any] = {"release": self.release, "healthy": not reasons, "reasons": reasons}
            document.update(self.metrics.counters())
            document["model_sha256"] = None if self._bundle is None else self._bundle.model_sha256
            document["model"] = None if self._bundle is None else self._bundle.spec.name
            document["source"] = None if self._source is None else self._source.name
            document["unreadable"] = 0 if self._source is None else self._source.unreadable
            document["reconnects"] = 0 if self._source is None else self._source.reconnects
            return document

    def state(self) -> Dict[str, Any]:
        """The document of /api/state: /healthz, times, the latest frame, and the latest that had detections."""
        document = self.healthz()
        document.update(self.metrics.times(NEWEST))
        classes, labels = self.names()
        document["classes"] = [{"name": name, "label": label} for name, label in zip(classes, labels)]
        with self._lock:
            frame, found = self._latest, self._last_found
        document["frame"] = None if frame is None else _described(frame)
        document["last_found"] = None if found is None else _described(found)
        return document


def _described(result: Result) -> Dict[str, Any]:
    frame, found = result.frame, result.detections
    return {
        "index": frame.index,
        "name": frame.name,
        "t_utc": frame.t_utc,
        "age_s": round((time.monotonic_ns() - frame.t_monotonic_ns) / 1e9, 2),
        "size_hw": list(frame.image_bgr.shape[:2]),
        "detections": [
            {
                "class_id": int(found.class_id[i]),
                "confidence": round(float(found.confidence[i]), 4),
                "box_xyxy": [round(float(v), 1) for v in found.boxes_xyxy[i]],
            }
            for i in range(len(found))
        ],
    }
