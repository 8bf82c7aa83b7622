"""What is said of raw samples: no clipping, and no percentile that the number of samples cannot carry.

Sources: the sample floor is MLPerf loadgen's early stopping (mlcommons/inference, loadgen/early_stopping.cc):
64 samples let p90 hold with 99 % confidence when one slow sample may be discarded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

P90_SAMPLES = 64  # below this p90 is withheld
DRIFT_LIMIT = 0.10  # the last third's median against the first third's
SPREAD_LIMIT = 0.50  # p90 over p50, less 1
PERSONAL = ("too few samples", "drift", "unsteady")  # reasons that `doubts` gives; their numbers are one result's


class Statistics(BaseModel):
    """Of all samples, in ms; `p90` is None where there are too few samples for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: int
    p50: float
    p90: float | None
    mean: float
    min: float
    max: float


def summarise(samples_ms: Sequence[float]) -> Statistics:
    """Statistics of one or more samples."""
    samples = np.asarray(samples_ms, np.float64)
    return Statistics(
        n=len(samples),
        p50=float(np.percentile(samples, 50)),
        p90=float(np.percentile(samples, 90)) if len(samples) >= P90_SAMPLES else None,
        mean=float(samples.mean()),
        min=float(samples.min()),
        max=float(samples.max()),
    )


def doubts(samples_ms: Sequence[float]) -> list[str]:
    """Why these samples, in the order they were taken, should not be trusted; empty where they should."""
    samples = np.asarray(samples_ms, np.float64)
    reasons = []
    if len(samples) < P90_SAMPLES:
        missing = P90_SAMPLES - len(samples)
        reasons.append(f"too few samples: {len(samples)}, p90 needs {P90_SAMPLES}, {missing} more")
    third = len(samples) // 3
    if third >= 5:
        first, last = float(np.median(samples[:third])), float(np.median(samples[-third:]))
        if abs(last / first - 1) > DRIFT_LIMIT:
            reasons.append(f"drift: the last third's median is {last / first - 1:+.0%} from the first third's")
    p50, p90 = np.percentile(samples, [50, 90])
    if p90 / p50 - 1 > SPREAD_LIMIT:
        reasons.append(f"unsteady: p90 is {p90 / p50 - 1:.0%} above p50")
    return reasons
