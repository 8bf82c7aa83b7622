"""How far a tensor is from what it should be, in dB, summed up over batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SILENT_DB = -100.0  # of noise without any signal


@dataclass
class SignalToNoise:
    """The energy of a reference and of the difference from it, over all batches so far."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, reference: Tensor, found: Tensor) -> None:
        """Take in a batch; both of any one shape."""
        self.signal += _energy(reference)
        self.noise += _energy(found - reference)

    @property
    def noise_share(self) -> float:
        """Noise energy / signal energy; infinite where there is noise alone."""
        if self.noise and not self.signal:
            return math.inf
        return self.noise / self.signal if self.noise else 0.0

    @property
    def db(self) -> float | None:
        """Signal / noise in dB, None without any noise."""
        return decibels(self.noise_share)


def _energy(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.float64).item() ** 2)


def decibels(noise_share: float) -> float | None:
    """10 log10 (1 / share), None for no noise at all, SILENT_DB for noise alone."""
    if not noise_share:
        return None
    return SILENT_DB if math.isinf(noise_share) else -10 * math.log10(noise_share)


def heads_noise_share(heads: list[SignalToNoise]) -> float:
    """The mean noise share of a network's heads, so that each counts alike."""
    return sum(head.noise_share for head in heads) / len(heads)
