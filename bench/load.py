"""Whether other work ran on the machine during a measurement, from Linux's own counters."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

OTHERS_LIMIT = 0.2  # cores that other processes may use
WAIT_LIMIT = 0.05  # share of the time that a thread of ours may wait for a core
STEAL_LIMIT = 0.02  # share of the machine's time that its hypervisor may take
_STEAL = 7  # user nice system idle iowait irq softirq steal


@dataclass(frozen=True)
class _Counters:
    wall_s: float
    own_s: float
    machine_s: tuple[float, ...]  # by state, of all cores together; empty where /proc/stat cannot be read
    waited_s: float


class LoadWatch:
    """Counters from its making on; `reasons` says what spoils a measurement made since then."""

    def __init__(self) -> None:
        self._start = _read()

    def reasons(self) -> list[str]:
        """Why a measurement made since the start should not be trusted; empty where nothing disturbed it."""
        return reasons_between(self._start, _read())


def reasons_between(start: _Counters, end: _Counters) -> list[str]:
    """The disturbances between two readings, in words."""
    wall = max(end.wall_s - start.wall_s, 1e-9)
    reasons = []
    waited = (end.waited_s - start.waited_s) / wall
    if waited > WAIT_LIMIT:
        reasons.append(f"other load: our threads waited for a core {waited:.0%} of the time")
    if start.machine_s and end.machine_s:
        spent = [after - before for before, after in zip(start.machine_s, end.machine_s, strict=True)]
        busy = spent[0] + spent[1] + spent[2] + spent[5] + spent[6]
        others = (busy - (end.own_s - start.own_s)) / wall
        if others > OTHERS_LIMIT:
            reasons.append(f"other load: other processes used {others:.1f} cores")
        if spent[_STEAL] / max(sum(spent), 1e-9) > STEAL_LIMIT:
            reasons.append(f"the hypervisor took {spent[_STEAL] / sum(spent):.0%} of the time")
    return reasons


def _read() -> _Counters:
    own = os.times()
    return _Counters(time.monotonic(), own.user + own.system, _machine(), _waited())


def _machine() -> tuple[float, ...]:
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    except OSError:
        return ()
    ticks = os.sysconf("SC_CLK_TCK")
    return tuple(int(field) / ticks for field in fields) if len(fields) == 8 else ()


def _waited() -> float:
    """Seconds that this process's busiest waiter spent ready to run without a core."""
    longest = 0
    for task in Path("/proc/self/task").glob("*/schedstat"):
        try:
            longest = max(longest, int(task.read_text(encoding="ascii").split()[1]))
        except (OSError, IndexError, ValueError):  # the thread has ended, or the kernel keeps no such counter
            continue
    return longest / 1e9
