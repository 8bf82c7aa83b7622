"""How much memory this process, or its GPU, needed at most while something ran."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # man 5 proc: the resident set's peak becomes its present size


@dataclass
class Peak:
    """The most bytes in use at once: of this process (resident), and on a GPU where there is one."""

    process_bytes: int = 0
    gpu_bytes: int = 0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """A Peak that is filled at the end; where the kernel cannot forget older peaks, they are in it."""
    peak = Peak()
    if _RESET.exists():
        _RESET.write_text(_RESET_PEAK, encoding="ascii")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    yield peak
    peak.process_bytes = _resident_peak()
    if torch.cuda.is_available():
        peak.gpu_bytes = torch.cuda.max_memory_allocated()


def _resident_peak() -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines() if _STATUS.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def available_bytes() -> int:
    """Memory that is free for a new process, as the kernel estimates it."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo: expected a line MemAvailable, found none. Estimates need Linux 3.14 or newer.")
