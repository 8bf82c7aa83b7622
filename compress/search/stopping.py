"""Stopping a trial early: when it is behind the median of finished trials that are no slower.

Optuna's pruners refuse studies with two objectives. This is the median rule (Golovin et al., Google Vizier, KDD 2017)
among those trials alone whose predicted DPU time is no higher: a trial that is stopped is behind in both objectives.
Its time is known from the beginning where it is pruned down to one alone, else once it is pruned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

SLACK = 1.02  # a target in ms is met within 2 %: so much slower is no slower


@dataclass(frozen=True)
class Course:
    """How a finished trial went: its predicted DPU time, and mAP50 by step, such as `distill 3/10`."""

    dpu_ms: float
    map50: Mapping[str, float]


def is_behind(step: str, best_map50: float, dpu_ms: float, finished: Sequence[Course], peers: int) -> bool:
    """Whether a trial is to be stopped.

    Args:
        step: the one that it has just done.
        best_map50: the best that it had at any step of this stage.
        dpu_ms: its predicted DPU time.
        finished: trials that ran to their end.
        peers: so many of them, no slower and measured at this step, must be there.
    """
    there = [course.map50[step] for course in finished if step in course.map50 and course.dpu_ms <= SLACK * dpu_ms]
    return len(there) >= peers and best_map50 < median(there)
