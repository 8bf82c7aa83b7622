"""When and by how much a bias is moved."""

from __future__ import annotations

import torch

from compress.quantization.bias_correction import BiasCorrection


def reference() -> torch.Tensor:
    """A float output (2, 3, 4, 4)."""
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(5))


def test_no_error_stops_at_once() -> None:
    """Where rounding changes nothing, nothing is corrected, now or later."""
    correction = BiasCorrection()
    assert correction.step(reference(), reference()) is None
    assert correction.step(reference() + 1, reference()) is None


def test_step_is_a_twentieth_of_the_mean_error() -> None:
    """The mean error over images and places, per channel, times 0.05."""
    offset = torch.tensor([0.5, -0.25, 0.0]).reshape(1, 3, 1, 1)
    step = BiasCorrection().step(reference() + offset, reference())
    assert step is not None
    torch.testing.assert_close(step, offset.flatten() * 0.05)


def test_correction_stops_when_it_no_longer_helps() -> None:
    """Equal noise forward after forward ends the correction, for good."""
    correction = BiasCorrection()
    steps = [correction.step(reference() + 0.1, reference()) for _ in range(40)]
    assert steps[0] is not None
    assert correction.stopped
    assert steps[-1] is None


def test_small_noise_halves_the_rate_then_stops() -> None:
    """From an efficiency of 4 on the rate is halved, above 4.3 the correction ends."""
    correction = BiasCorrection()
    seen = []
    for noise in (1e-4,) * 10:  # about 80 dB: 1.25 * log10 of it is 10
        step = correction.step(reference() + noise, reference())
        seen.append(None if step is None else round(step.mean().item() / noise, 3))
    assert seen[0] == 0.05
    assert seen[-1] is None
