"""The Pareto front of mAP50 against predicted DPU time, and the point of it that is chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Rule = Literal["knee", "max-map"]


@dataclass(frozen=True)
class Point:
    """A finished trial: its number, its mAP50 (0 to 1) and its predicted time on the DPU in ms."""

    number: int
    map50: float
    dpu_ms: float


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats, fastest first; of equal ones the first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.dpu_ms, -point.map50, point.number)):
        if not front or point.map50 > front[-1].map50:
            front.append(point)
    return front


def choose(front: Sequence[Point], rule: Rule, max_ms: float | None = None) -> Point | None:
    """One point of a front, or None where none is fast enough.

    Args:
        front: fastest first.
        rule: `max-map`, the most accurate, or `knee`, where the front bends most: the point farthest above the line
            between its ends, with the logarithm of the time and mAP50 each scaled to 0..1 (Satopaa et al., Finding a
            "Kneedle" in a Haystack, ICDCS Workshops 2011); of two points the more accurate.
        max_ms: slower ones are left out.
    """
    fast = [point for point in front if max_ms is None or point.dpu_ms <= max_ms]
    if rule == "max-map" or len(fast) < 3:
        return fast[-1] if fast else None
    first, last = fast[0], fast[-1]
    width, height = math.log(last.dpu_ms / first.dpu_ms), last.map50 - first.map50

    def above_the_line(point: Point) -> float:
        return (point.map50 - first.map50) / height - math.log(point.dpu_ms / first.dpu_ms) / width

    return max(reversed(fast), key=above_the_line)  # a front that bends nowhere: the most accurate
