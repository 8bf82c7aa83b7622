"""What travels through the pipeline: pictures from a source in, results out."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Iterator, Optional

import numpy as np

from board_app.core.detections import Detections


@dataclass(frozen=True)
class Frame:
    """One picture of a source, stamped when it was captured.

    Attributes:
        image_bgr: uint8, shape (H, W, 3); shared by all who hold the frame, so nobody changes it.
        index: number in the source, from 0; unreadable pictures of a folder take none.
        name: of the file, where the source is files.
        t_utc_s: seconds since 1970.
        t_monotonic_ns: of the same moment, on the clock that never jumps.
    """

    image_bgr: np.ndarray
    index: int
    name: Optional[str] = None
    t_utc_s: float = field(default_factory=time.time)
    t_monotonic_ns: int = field(default_factory=time.monotonic_ns)

    @property
    def t_utc(self) -> str:
        """ISO 8601 in UTC with milliseconds, such as 2025-11-24T13:20:05.123Z."""
        moment = datetime.fromtimestamp(self.t_utc_s, timezone.utc)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds that one frame spent in each stage, and from capture to result."""

    preprocess_ms: float
    dpu_ms: float
    postprocess_ms: float
    latency_ms: float


@dataclass(frozen=True)
class Result:
    """A frame, what was found in it, and how long it took."""

    frame: Frame
    detections: Detections
    times: StageTimes


class Source(ABC):
    """Where pictures come from.

    Attributes:
        name: as the user wrote it, without credentials.
        is_live: pictures come by themselves, so the oldest are dropped when the rest is too slow.
        fps: pictures a second of the source's own time, None where it has none.
        unreadable: pictures that could not be read and were skipped so far.
        reconnects: how often a lost source was opened again.
    """

    name: str = ""
    is_live: bool = False
    fps: Optional[float] = None
    unreadable: int = 0
    reconnects: int = 0

    @abstractmethod
    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """The pictures in order; ends when there are no more, and soon after `stop` is set.

        Raises:
            SourceError: the source gives nothing.
        """

    def close(self) -> None:  # noqa: B027 (most sources hold nothing)
        """Give devices and files back; called once, from the thread that took the frames."""
