"""Biases moved against the mean error that rounding brings, during calibration (nndct's param_corr)."""

from __future__ import annotations

import math

from torch import Tensor

RATE = 0.05


class BiasCorrection:
    """The correction of one convolution over the calibration forwards; nndct's rule for when to stop."""

    def __init__(self) -> None:
        self.stopped = False
        self._efficiency = 0.0
        self._deviation = 0.0

    def step(self, output: Tensor, reference: Tensor) -> Tensor | None:
        """What to subtract from the bias after one forward, or None when the correction has stopped, for good.

        Args:
            output: of the quantised convolution, (N, C, H, W) float32.
            reference: of the float convolution on the same quantised input.
        Returns:
            Float32, shape (C,).
        """
        if self.stopped:
            return None
        error = output - reference
        noise = error.square().mean()
        if noise.item() <= 0:
            self.stopped = True
            return None
        # one float32 figure, then double precision, as nndct computes it
        efficiency = (1.25 * (reference.square().mean() / noise).log10()).item()
        deviation = abs(efficiency - self._efficiency)
        self.stopped = deviation == 0 or self._settled(efficiency, deviation)
        if self.stopped:
            return None
        rate = RATE / 2 if self._efficiency > 4.0 else RATE
        return error.mean(dim=(0, 2, 3)).mul_(rate)

    def _settled(self, efficiency: float, deviation: float) -> bool:
        self._efficiency = (self._efficiency * 4 + efficiency) * 0.2
        self._deviation = (self._deviation * 4 + deviation) * 0.2
        return (
            self._efficiency > 4.3
            or _ratio(self._deviation, self._efficiency) < 0.05
            or math.fabs(deviation - self._deviation / deviation) < 0.05
        )


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.inf
