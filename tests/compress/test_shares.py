"""Shares in flags and settings."""

from __future__ import annotations

import argparse

import pytest

from compress.shares import parse_share, share_argument


@pytest.mark.parametrize(
    ("text", "share"), [("85%", 0.85), (" 85 % ", 0.85), ("0.85", 0.85), ("0", 0), ("100%", 1), ("1", 1)]
)
def test_shares_are_percent_or_fractions(text: str, share: float) -> None:
    """85% and 0.85 mean the same."""
    assert parse_share(text) == pytest.approx(share) == share_argument(text)


@pytest.mark.parametrize("text", ["", "%", "85 percent", "850%", "-1", "nan", "1.5"])
def test_what_is_no_share_is_refused(text: str) -> None:
    """Neither a number nor one outside 0 to 1 passes, and the flag's message says what does."""
    with pytest.raises(ValueError, match="expected a share"):
        parse_share(text)
    with pytest.raises(argparse.ArgumentTypeError, match="such as 85% or 0.85, found"):
        share_argument(text)
