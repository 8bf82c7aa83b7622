"""Shares as people write them: 85% or 0.85."""

from __future__ import annotations

import argparse


def parse_share(text: str) -> float:
    """The share as a number from 0 to 1.

    Raises:
        ValueError: it is none.
    """
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = float("nan")
    if not 0 <= share <= 1:
        raise ValueError("expected a share")
    return share


def share_argument(text: str) -> float:
    """The same as the type of a command's flag."""
    try:
        return parse_share(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected a share such as 85% or 0.85, found '{text}'. Give one from 0% to 100%."
        ) from error
