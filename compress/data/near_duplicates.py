"""The same picture in two splits, recompressed or resized, and frames of one place in two splits.

A picture's print is 64 bits of its slow waves (perceptual hash; Zauner, 2010) and a grey copy of 16 x 16 pixels: the
bits find likely pairs fast, the copy settles them. Over rdd2022-cmb-mini, 1,119 frames of a few streets, two different
pictures differ by 1.09 grey levels or more, and the same one saved again, down to JPEG quality 20 at 256 pixels, by
0.71 at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from compress.data.problems import Problem
from compress.data.scene_grouping import group_scenes

SAME_BITS = 10  # of 64 that may differ: few pairs are left for the copies to settle
SAME_LEVELS = 0.9  # mean difference of the grey copies, of 255
_COPY_PX, _WAVES, _WAVES_PX = 16, 8, 32


@dataclass(frozen=True)
class PicturePrint:
    """What is kept of a picture to find it again.

    Attributes:
        bits: uint64.
        copy: float32 (256,), grey levels.
    """

    bits: np.uint64
    copy: np.ndarray


def picture_print(image_bgr: np.ndarray) -> PicturePrint:
    """The print of a picture, uint8 (H, W, 3)."""
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY)
    copy = cv2.resize(grey, (_COPY_PX, _COPY_PX), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small = cv2.resize(grey, (_WAVES_PX, _WAVES_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    waves = cv2.dct(small)[:_WAVES, :_WAVES].ravel()
    above = waves > np.median(waves[1:])  # the first is the mean, far from all others
    return PicturePrint(np.packbits(above).view(np.uint64)[0], copy)


def same_pictures(prints: Sequence[PicturePrint], splits: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of indices of the same picture in two splits, the earlier one first."""
    bits = np.array([entry.bits for entry in prints], np.uint64)
    places = np.unique(splits, return_inverse=True)[1]
    pairs = []
    for first in range(len(prints)):
        later = slice(first + 1, None)
        alike = (np.bitwise_count(bits[later] ^ bits[first]) <= SAME_BITS) & (places[later] != places[first])
        for second in first + 1 + np.flatnonzero(alike):
            if np.abs(prints[first].copy - prints[int(second)].copy).mean() <= SAME_LEVELS:
                pairs.append((first, int(second)))
    return pairs


def shared_places(paths: Sequence[Path], splits: Sequence[str]) -> list[Problem]:
    """One problem for every place that is seen in pictures of more than one split.

    Raises:
        InputError: a picture does not decode.
    """
    scenes = group_scenes(paths)
    problems = []
    told: set[int] = set()
    for link in scenes.links:
        scene = int(scenes.ids[link.first])
        if splits[link.first] == splits[link.second] or scene in told:
            continue
        told.add(scene)
        counts = Counter(split for split, of in zip(splits, scenes.ids, strict=True) if of == scene)
        listing = ", ".join(f"{count} in {name}" for name, count in sorted(counts.items()))
        message = (
            f"expected frames of one place in one split, found {listing}; {paths[link.second]} in "
            f"{splits[link.second]} shows what this one in {splits[link.first]} shows ({link.inliers} features agree). "
            "Split by scene: roadslim data convert … --val 20% --by scene --anew"
        )
        problems.append(Problem(paths[link.first], None, message, paths[link.first], other_image=paths[link.second]))
    return problems
