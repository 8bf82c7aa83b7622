"""Learning rate and picture size over the steps."""

from __future__ import annotations

import pytest

from compress.training.schedule import rate_factor, size_at


def test_the_rate_rises_to_its_peak_and_falls_to_a_fiftieth() -> None:
    """Linear over the warm-up, then never rising, 2 % at the end."""
    factors = [rate_factor(step, 100, 0.1) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1.0 and factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[99] == pytest.approx(0.02, abs=0.001)


@pytest.mark.parametrize("input_hw", [(64, 96), (96, 64), (416, 416), (32, 640)])
def test_sizes_are_multiples_of_32_of_the_networks_aspect(input_hw: tuple[int, int]) -> None:
    """The longer side within the limits, each as often as any, the shorter as near to the aspect as 32 allows."""
    found = [size_at(10 * draw, input_hw, (96, 224), seed=1) for draw in range(200)]
    assert {max(size) for size in found} == {96, 128, 160, 192, 224}
    for size in found:
        assert all(side % 32 == 0 and side >= 32 for side in size)
        ideal = max(size) * min(input_hw) / max(input_hw)
        assert abs(min(size) - ideal) <= 16 or min(size) == 32
        assert (size[0] >= size[1]) == (input_hw[0] >= input_hw[1]) or size[0] == size[1]


def test_a_size_lasts_ten_steps_and_follows_from_seed_and_step() -> None:
    """Within ten steps nothing changes; another seed draws otherwise."""
    sizes = [size_at(step, (416, 416), (320, 608), seed=1) for step in range(200)]
    assert all(sizes[step] == sizes[step // 10 * 10] for step in range(200)) and len(set(sizes)) > 4
    assert sizes != [size_at(step, (416, 416), (320, 608), seed=2) for step in range(200)]
    assert size_at(7, (64, 96), None, seed=1) == (64, 96)
