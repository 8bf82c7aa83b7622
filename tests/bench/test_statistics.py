"""What is said of samples, and when it is not said."""

from __future__ import annotations

import numpy as np
import pytest

from bench.statistics import P90_SAMPLES, doubts, summarise


def test_summary_of_known_samples() -> None:
    """Percentiles, mean and extremes are those of all samples, outliers included."""
    samples = [*range(1, 100), 1000]
    found = summarise(samples)
    assert (found.n, found.min, found.max, found.mean) == (100, 1, 1000, np.mean(samples))
    assert found.p50 == 50.5 and found.p90 == pytest.approx(np.percentile(samples, 90))


@pytest.mark.parametrize(("count", "told"), [(1, False), (P90_SAMPLES - 1, False), (P90_SAMPLES, True)])
def test_p90_needs_enough_samples(count: int, told: bool) -> None:
    """Below the floor p90 is withheld, and the doubt says how many samples are missing."""
    samples = [1.0] * count
    assert (summarise(samples).p90 is not None) is told
    assert doubts(samples) == ([] if told else [f"too few samples: {count}, p90 needs 64, {64 - count} more"])


def test_drift_is_doubted() -> None:
    """A machine that gets slower makes the samples INVALID."""
    assert doubts(np.linspace(1, 1.3, 90).tolist())[0].startswith("drift: the last third's median is +")


def test_spread_is_doubted() -> None:
    """A long tail makes the samples INVALID."""
    assert doubts(([1.0] * 8 + [2.0] * 2) * 10)[0].startswith("unsteady: p90 is 100% above p50")


def test_steady_samples_are_trusted() -> None:
    """Noise of a few percent and single outliers raise no doubt."""
    samples = np.random.default_rng(1).normal(10, 0.3, 100)
    samples[50] = 40
    assert doubts(samples.tolist()) == []
