"""Probes: what a larger step costs, from two smaller ones."""

from __future__ import annotations

import pytest

from compress.estimate.probe import Cost, Step, _far_from, _largest_within, _smallest

STEP_COST = 0.5, 2e-6  # seconds: a step's own, a pixel's
MEMORY = 400_000_000, 2_000  # bytes: the network's, a pixel's


def cost(step: Step) -> Cost:
    """A machine whose time and memory grow along a line."""
    (own, pixel), (network, activations) = STEP_COST, MEMORY
    kept = activations * step.pixels_at_once
    return Cost(
        step, own + pixel * step.pixels, pixel * step.picture / 3, 0.25, network + kept, 0, kept, network * 2, 16_000
    )


@pytest.mark.parametrize("wanted", [Step(16, (608, 608), 4), Step(2, (256, 320), 2), Step(3, (256, 320), 3)])
def test_two_steps_tell_a_third(wanted: Step) -> None:
    """On the line through both, what a step costs by itself included."""
    found = cost(Step(2, (256, 320), 2)).scaled(cost(Step(1, (160, 160), 1)), wanted)
    right = cost(wanted)
    assert found.step == wanted and found.step_s == pytest.approx(right.step_s)
    assert found.process_bytes == pytest.approx(right.process_bytes)
    assert found.evaluation_s == pytest.approx(right.evaluation_s)
    assert (found.save_s, found.checkpoint_bytes) == (0.25, 16_000)


@pytest.mark.parametrize(
    ("input_hw", "smallest"), [((608, 608), (128, 128)), ((64, 96), (64, 64)), ((32, 480), (32, 96))]
)
def test_the_first_step_is_small(input_hw: tuple[int, int], smallest: tuple[int, int]) -> None:
    """A quarter of the sides in whole strides, enough for statistics, and never larger than the wanted one."""
    assert _smallest(Step(8, input_hw, 8)) == Step(1, smallest, 1)


@pytest.mark.parametrize(
    ("first_s", "memory", "step"),
    [
        (0.001, 1e12, Step(16, (608, 608), 8)),
        (0.001, 2.3e9, Step(5, (608, 608), 5)),  # memory is the limit
        (1.0, 1e12, Step(1, (160, 160), 1)),
        (4.0, 1e12, Step(1, (128, 128), 1)),  # not even the first was within the limit
    ],
)
def test_the_largest_step_stays_within_time_and_memory(first_s: float, memory: float, step: Step) -> None:
    """Both grow at most in proportion to the pixels."""
    first = Cost(Step(1, (128, 128), 1), first_s, 0.1, 0.0, 20_000_000, 0, 19_000_000, 0, 0)
    assert _largest_within(first, Step(16, (608, 608), 8), memory) == step


@pytest.mark.parametrize(
    ("wanted", "side", "second"),
    [
        (Step(16, (608, 608), 8), 128, Step(1, (384, 384), 1)),
        (Step(16, (64, 64), 8), 64, Step(8, (64, 64), 8)),
        (Step(1, (64, 96), 1), 64, Step(1, (64, 96), 1)),  # none is eight times as large
    ],
)
def test_the_second_step_is_far_from_the_first(wanted: Step, side: int, second: Step) -> None:
    """Even where the first one took too long already: eight times the pixels, as far as there are so many."""
    assert _far_from(Step(1, (side, side), 1), wanted) == second
