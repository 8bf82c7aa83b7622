"""Splitting one set of images into train, val and test: by their names, or by scenes that stay whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from board_app.core.errors import InputError, UsageError
from compress.data.dataset import Dataset

SPLITS = ("train", "val", "test")


def images_to_divide(datasets: Mapping[str, Dataset], val: float, test: float, anew: bool = False) -> Dataset:
    """The images of the only split, or with `anew` those of all splits together, each once.

    Raises:
        UsageError: there are several splits already, or the shares leave no train.
    """
    if len(datasets) != 1 and not anew:
        raise UsageError(
            f"expected one split to divide, found {', '.join(datasets)}. Leave out --val and --test to keep them, "
            "or divide all images again with --anew"
        )
    if not (0 <= val and 0 <= test and val + test < 1):
        raise UsageError(f"expected shares that leave some for train, found {val:g} and {test:g}. Give smaller ones")
    samples = {sample.image_path: sample for part in datasets.values() for sample in part.samples}
    return replace(next(iter(datasets.values())), samples=tuple(samples.values()))


def split_by_name(whole: Dataset, val: float, test: float) -> dict[str, Dataset]:
    """The images divided by their names; adding images later moves none of the old ones.

    Neighbouring frames of one video can fall on both sides, and then accuracy looks better than it is.

    Args:
        whole: what `images_to_divide` gave.
        val, test: their shares, 0 for none; the rest is train.

    Raises:
        InputError: so few images that a part is empty.
    """
    chances = np.array([_chance(sample.image_path.stem) for sample in whole.samples])
    return _parted(whole, np.where(chances < val, 1, np.where(chances < val + test, 2, 0)), val, test)


def split_by_scene(whole: Dataset, scenes: np.ndarray, val: float, test: float) -> dict[str, Dataset]:
    """The images divided so that every scene is in one part and the classes are spread by the shares.

    The largest scenes are placed first, each where images and boxes of every class then come nearest to the shares;
    after that single scenes are moved while this brings them nearer.

    Args:
        whole: what `images_to_divide` gave.
        scenes: int (N,), the scene of each sample.
        val, test: their shares, 0 for none; the rest is train.

    Raises:
        InputError: so few scenes that a part is empty.
    """
    counts = np.zeros(
        (int(scenes.max(initial=-1)) + 1, 1 + len(whole.classes))
    )  # of images, then of each class's boxes
    for scene, sample in zip(scenes, whole.samples, strict=True):
        counts[scene, 0] += 1
        np.add.at(counts[scene], 1 + sample.class_id, 1)
    shares = np.array([1 - val - test, val, test])
    places = _placed(counts / np.maximum(counts.sum(0), 1), shares[shares > 0])
    return _parted(whole, np.flatnonzero(shares)[places][scenes], val, test)


def _placed(weights: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """A part for each scene.

    Args:
        weights: float (S, K), the share of the images, and of the boxes of each class, that is in each scene.
        shares: float (P,), what each part should have of everything.
    """
    places = np.full(len(weights), -1)
    sums = np.zeros((len(shares), weights.shape[1]))

    def cost_with(part: int, weight: np.ndarray) -> float:
        trial = sums.copy()
        trial[part] += weight
        return float((((trial - shares[:, None]) ** 2) / shares[:, None]).sum())

    order = np.argsort(-weights.max(1), kind="stable")
    moved = True
    while moved:
        moved = False
        for scene in order:
            before = places[scene]
            if before >= 0:
                sums[before] -= weights[scene]
            costs = [cost_with(part, weights[scene]) for part in range(len(shares))]
            best = int(np.argmin(costs))
            if before >= 0 and costs[best] > costs[before] - 1e-9:
                best = before  # a gain of rounding alone would move it for ever
            places[scene], moved = best, moved or best != before
            sums[best] += weights[scene]
    return places


def _parted(whole: Dataset, places: np.ndarray, val: float, test: float) -> dict[str, Dataset]:
    """The parts with a share, from the position in SPLITS of each sample, int (N,)."""
    parts = {}
    for position, (name, share) in enumerate(zip(SPLITS, (1.0, val, test), strict=True)):
        samples = tuple(sample for sample, place in zip(whole.samples, places, strict=True) if place == position)
        if share and not samples:
            raise InputError(f"expected images for {name}, found none left of {len(whole)}. Give other shares")
        if share:
            parts[name] = replace(whole, samples=samples)
    return parts


def _chance(name: str) -> float:
    """A number from 0 to 1 that follows from the name alone, evenly spread over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
