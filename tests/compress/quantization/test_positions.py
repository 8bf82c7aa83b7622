"""Rounding and the search for fix points, against what pytorch_nndct's kernels gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compress.quantization.positions import (
    capped,
    fake_quantize,
    find_fix_point,
    half_away,
    half_up,
    mode,
    to_integers,
)

ROUNDINGS = {2: half_up, 3: half_away}
BELOW_HALF = float(np.nextafter(np.float32(0.5), np.float32(0)))


@pytest.fixture(scope="module")
def units(shared_data: Path) -> dict[str, np.ndarray]:
    """The unit cases of the real quantiser."""
    with np.load(shared_data / "nndct_reference" / "units.npz") as arrays:
        return dict(arrays)


def test_rounding_equals_nndct(units: dict[str, np.ndarray]) -> None:
    """Every rounding of the two methods that the DPU uses is nndct's."""
    x = torch.from_numpy(units["round/x"])
    compared = 0
    for key, expected in units.items():
        if key.startswith("round/amp") and int(key[-1]) in ROUNDINGS:
            amplitude = float(key.split("/")[1].removeprefix("amp"))
            found = ROUNDINGS[int(key[-1])](x / amplitude * amplitude).clamp(-128, 127)
            np.testing.assert_array_equal(found.numpy(), expected, err_msg=key)
            compared += 1
    assert compared == 6


def test_search_equals_nndct(units: dict[str, np.ndarray]) -> None:
    """Every fix point that the search finds is nndct's, in both scopes and roundings."""
    compared = 0
    for key, expected in units.items():
        if key.startswith("diffs/") and not key.endswith("/x"):
            tensor, setting = key.split("/")[1:]
            scope = int(setting.split("_")[0].removeprefix("scope"))
            found = find_fix_point(torch.from_numpy(units[f"diffs/{tensor}/x"]), scope)
            assert found == int(expected), key
            compared += 1
    assert compared == 200


@pytest.mark.parametrize(
    ("x", "up", "away"),
    [
        (0.5, 1, 1),
        (-0.5, 0, -1),
        (1.5, 2, 2),
        (2.5, 3, 3),
        (-2.5, -2, -3),
        (BELOW_HALF, 0, 0),
        (-BELOW_HALF, 0, 0),
        (2.0**23 + 1, 2**23 + 1, 2**23 + 1),
    ],
)
def test_halves(x: float, up: int, away: int) -> None:
    """Halves go up, or away from zero; the float just below one half goes down."""
    value = torch.tensor([x])
    assert half_up(value).item() == up
    assert half_away(value).item() == away


@pytest.mark.parametrize(
    ("x", "integer"),
    [(0.0, 0), (1.0, 8), (100.0, 127), (-100.0, -128), (2.0**28, -128), (float("inf"), -128), (float("nan"), -128)],
)
def test_saturation(x: float, integer: int) -> None:
    """Integers saturate, and what leaves int32 becomes -128, as nndct's cast does."""
    assert to_integers(torch.tensor([x]), 3, half_up).item() == integer


def test_fake_quantize_is_idempotent() -> None:
    """A value on the grid stays."""
    x = fake_quantize(torch.randn(1000, generator=torch.Generator().manual_seed(1)), 5, half_up)
    assert torch.equal(fake_quantize(x, 5, half_up), x)


def test_zeros_get_the_cap() -> None:
    """A tensor of zeros gets the largest fix point."""
    assert capped(find_fix_point(torch.zeros(10))) == 12


def test_large_values_get_negative_fix_points() -> None:
    """There is no lower bound."""
    assert find_fix_point(torch.tensor([-3000.0, 3000.0]), scope=1) == -5


@pytest.mark.parametrize(("history", "expected"), [([7], 7), ([7, 6, 7], 7), ([7, 7, 6, 6], 6), ([5, 4, 3], 3)])
def test_mode(history: list[int], expected: int) -> None:
    """The most frequent fix point counts, the smallest on a tie."""
    assert mode(history) == expected
