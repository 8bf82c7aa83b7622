"""Splitting one set of images into train, val and test by their names: the same image always falls the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from board_app.core.errors import InputError, UsageError
from compress.data.dataset import Dataset, Sample


def split_by_name(datasets: Mapping[str, Dataset], val: float, test: float) -> dict[str, Dataset]:
    """The only split of a dataset, divided; adding images later moves none of the old ones.

    Neighbouring frames of one video can fall on both sides, and then accuracy looks better than it is.

    Args:
        datasets: exactly one split.
        val, test: their shares, 0 for none; the rest is train.

    Raises:
        UsageError: there are several splits already, or the shares leave no train.
        InputError: so few images that a part is empty.
    """
    if len(datasets) != 1:
        raise UsageError(f"expected one split to divide, found {', '.join(datasets)}. Leave out --val and --test")
    if not (0 <= val and 0 <= test and val + test < 1):
        raise UsageError(f"expected shares that leave some for train, found {val:g} and {test:g}. Give smaller ones")
    whole = next(iter(datasets.values()))
    parts: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for sample in whole.samples:
        chance = _chance(sample.image_path.stem)
        parts["val" if chance < val else "test" if chance < val + test else "train"].append(sample)
    wanted = {"train": True, "val": val > 0, "test": test > 0}
    for name, samples in parts.items():
        if wanted[name] and not samples:
            raise InputError(f"expected images for {name}, found none left of {len(whole)}. Give other shares")
    return {name: replace(whole, samples=tuple(samples)) for name, samples in parts.items() if wanted[name]}


def _chance(name: str) -> float:
    """A number from 0 to 1 that follows from the name alone, evenly spread over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
