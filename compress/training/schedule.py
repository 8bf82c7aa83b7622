"""What changes over the steps of a training: the learning rate, and the size of the pictures.

Sources: Goyal et al., arXiv:1706.02677 (warm-up); Loshchilov & Hutter, SGDR, arXiv:1608.03983 (cosine);
Redmon & Farhadi, YOLO9000, arXiv:1612.08242 (multi-scale).
"""

from __future__ import annotations

import math

import numpy as np

_LOWEST = 0.02  # of the peak rate, at the end
_STEPS_PER_SIZE = 10
_MULTIPLE = 32  # pixels, of every detector's coarsest stride


def rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """Linear warm-up, then a cosine down to 2 % of the peak; the share of the peak at a 0-based step."""
    warmup = max(1, round(warmup_share * steps))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return _LOWEST + (1 - _LOWEST) * (1 + math.cos(math.pi * done)) / 2


def size_at(step: int, input_hw: tuple[int, int], longer_side: tuple[int, int] | None, seed: int) -> tuple[int, int]:
    """Height and width of the pictures at a step; it follows from the step and the seed alone.

    Args:
        step: 0-based, of the optimiser.
        input_hw: of the network, whose aspect stays as far as multiples of 32 allow.
        longer_side: its smallest and largest value in pixels; None leaves the size alone.
        seed: of the run.
    """
    if longer_side is None:
        return input_hw
    smallest, largest = longer_side
    chance = np.random.default_rng((seed, step // _STEPS_PER_SIZE))
    side = smallest + _MULTIPLE * int(chance.integers((largest - smallest) // _MULTIPLE + 1))
    height, width = (
        max(_MULTIPLE, _MULTIPLE * round(side * length / max(input_hw) / _MULTIPLE)) for length in input_hw
    )
    return height, width
