"""The proof that float32 is exact: its bounds hold for the worst input and for any order of summation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpu.exactness import FLOAT32_EXACT, fits_float32, plan
from dpu.operators.convolution import Convolution
from dpu.program import Value


def convolution(weights: np.ndarray, depthwise: bool, fix_point: int = 0, activation: str = "NONE") -> Convolution:
    """A convolution of one window at positions 0, so that a unit is 1."""
    channels = weights.shape[3]
    source = Value("x", (1, *weights.shape[1:3], channels), 0)
    output = Value("y", (1, 1, 1, channels * weights.shape[0] if depthwise else weights.shape[0]), fix_point)
    ones, none = (1, 1), (0, 0, 0, 0)
    return Convolution(output, (source,), weights, 0, None, 0, ones, none, ones, activation, depthwise)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([3, 9, 33, 48]), st.sampled_from([1, 40, 300]))
def test_groups_cover_everything_and_each_stays_within_float32(
    seed: int, depthwise: bool, kernel: int, channels: int
) -> None:
    """Groups follow one another without a gap, and the largest sum of each is at most 2^24."""
    rng = np.random.default_rng(seed)
    kernel, channels = (kernel, min(channels, 40)) if depthwise else (min(kernel, 9), channels)
    weights = rng.choice([-128, -100, 0, 127], (2, kernel, kernel, channels)).astype(np.int8)
    way = plan(convolution(weights, depthwise))
    sizes = 128 * np.abs(weights.astype(np.int64))
    each = sizes.reshape(2, -1, channels).transpose(0, 2, 1) if depthwise else sizes.sum((1, 2))  # (..., N)
    assert way.groups[0][0] == 0 and way.groups[-1][1] == each.shape[-1]
    assert all(end == first for (_, end), (first, _) in zip(way.groups, way.groups[1:], strict=False))
    assert all(each[..., first:end].sum(-1).max() <= FLOAT32_EXACT for first, end in way.groups)
    assert way.float32 == (each.sum(-1).max() <= FLOAT32_EXACT)


@pytest.mark.parametrize("seed", range(8))
def test_where_float32_is_chosen_any_order_of_summation_is_exact(seed: int) -> None:
    """The worst input of weights just within the bound, summed in float32 forwards, backwards and shuffled."""
    rng = np.random.default_rng(seed)
    weights = rng.choice([-128, 127], (1, 1, 1, 1100)).astype(np.int8)
    weights = weights[..., : int(np.searchsorted(np.cumsum(128 * np.abs(weights.astype(int)).ravel()), 2**24))]
    assert plan(convolution(weights, False)).float32
    products = weights.ravel().astype(np.float32) * np.where(weights.ravel() < 0, -128, 127).astype(np.float32)
    exact = int(products.astype(np.int64).sum())
    for order in (products, products[::-1], rng.permutation(products)):
        total = np.float32(0)
        for product in order:
            total += product
        assert int(total) == exact


def test_the_half_for_rounding_must_fit_too() -> None:
    """2^24 units leave no room for a half of a bit that is cut off; without a cut they do."""
    assert fits_float32(2**24, 0) and fits_float32(2**24 - 1, 1) and not fits_float32(2**24, 1)
    assert fits_float32(2**24 - 2**9, 10) and not fits_float32(2**24 - 2**9 + 1, 10)


@pytest.mark.parametrize(("fix_point", "float32"), [(-10, True), (-11, False)])
def test_a_leaky_slope_leaves_ten_bits_to_cut(fix_point: int, float32: bool) -> None:
    """13/128 takes 7 bits, values up to 128 take 7: with 10 bits cut off all 24 are used."""
    weights = np.ones((1, 1, 1, 1), np.int8)
    assert plan(convolution(weights, False, fix_point, "LEAKYRELU")).float32 == float32
