"""Which pictures show the same place: frames of one drive, told by what they have in common and not by their numbers.

1. Candidates: for each picture those whose small grey copies are nearest, and those that have most visual words in
   common (Sivic & Zisserman, Video Google, ICCV 2003; a word is a few bits of an ORB feature), so that the proofs grow
   with the number of pictures and not with its square.
2. Proof: ORB features (Rublee et al., ICCV 2011) whose matches pass Lowe's ratio test (IJCV 2004) and agree on
   one homography, found by RANSAC (Fischler & Bolles, 1981): of a road ahead most of what is seen lies on a plane.
3. Scenes: pictures that are linked by proofs, over others too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from board_app.core.errors import InputError
from compress.data.image_size import NoImageError, decode_image
from compress.data.progress import tracked

NEIGHBOURS = 10  # candidates of a picture, of each of the two kinds
MIN_INLIERS = 14  # matches on one homography: with 12 some pairs of rdd2022-cmb-mini are of different places
_LONG_SIDE_PX = 416  # features are looked for at this size, whatever the camera gave
_SMALL_PX = 8  # side of the small grey copy
_FEATURES = 400
_WORD_BITS = np.random.default_rng(0).permuted(np.tile(np.arange(256), (4, 1)), axis=1)[:, :12]  # 4 words a feature
_RATIO = 0.75  # of the nearest to the second nearest match, in bits
_REPROJECTION_PX = 4.0
_BLOCK = 512  # pictures whose likeness to all others is in memory at once


@dataclass(frozen=True)
class Link:
    """Two pictures, by index, that show the same place, and the number of matches that prove it."""

    first: int
    second: int
    inliers: int


@dataclass(frozen=True)
class Scenes:
    """Pictures grouped by place.

    Attributes:
        ids: int64 (N,), the scene of each picture; scenes are numbered in the order of their first pictures.
        links: the proofs that hold the scenes together, no more than needed.
    """

    ids: np.ndarray
    links: tuple[Link, ...]


@dataclass(frozen=True)
class _Features:
    small: np.ndarray  # float32 (64,), mean 0, length 1
    points: np.ndarray  # float32 (K, 2), pixels
    descriptors: np.ndarray  # uint8 (K, 32)


def group_scenes(paths: Sequence[Path]) -> Scenes:
    """The scenes of pictures.

    Raises:
        InputError: one does not decode.
    """
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # OpenCV works outside the interpreter's lock
        features = list(tracked(pool.map(_features, paths), len(paths), "features"))
        pairs = _candidates(features)
        groups = _Groups(len(paths))
        links = []

        def proof(pair: tuple[int, int]) -> int:
            return 0 if groups.joined(*pair) else _inliers(features[pair[0]], features[pair[1]])

        proofs = pool.map(proof, pairs)
        for (first, second), inliers in zip(pairs, tracked(proofs, len(pairs), "pairs of pictures"), strict=True):
            if inliers >= MIN_INLIERS and not groups.joined(first, second):
                groups.join(first, second)
                links.append(Link(first, second, inliers))
    return Scenes(groups.ids(), tuple(links))


class _Groups:
    """Disjoint sets of 0 … count - 1; a set's root is its smallest member."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def _root(self, member: int) -> int:
        while self._parent[member] != member:
            member = self._parent[member]
        return member

    def joined(self, first: int, second: int) -> bool:
        return self._root(first) == self._root(second)

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self._root(first), self._root(second)))
        self._parent[high] = low

    def ids(self) -> np.ndarray:
        roots = [self._root(member) for member in range(len(self._parent))]
        return np.unique(roots, return_inverse=True)[1].reshape(-1)


def _features(path: Path) -> _Features:
    try:
        grey = cv2.cvtColor(decode_image(path), cv2.COLOR_BGR2GRAY)
    except NoImageError as error:
        raise InputError(f"{path}: expected an image, found {error}. Replace or remove it") from error
    scale = _LONG_SIDE_PX / max(grey.shape)
    if scale != 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    small = cv2.resize(grey, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    small /= np.linalg.norm(small) or 1.0
    keypoints, descriptors = cv2.ORB.create(_FEATURES, fastThreshold=5).detectAndCompute(grey, None)
    points = np.array([keypoint.pt for keypoint in keypoints], np.float32).reshape(-1, 2)
    return _Features(small, points, np.zeros((0, 32), np.uint8) if descriptors is None else descriptors)


def _candidates(features: Sequence[_Features]) -> list[tuple[int, int]]:
    """Pairs that may show the same place, the smaller index in front."""
    if len(features) < 2:
        return []
    small = np.stack([entry.small for entry in features])
    return sorted(_nearest(small) | _nearest(_word_frequencies([entry.descriptors for entry in features])))


def _nearest(vectors: np.ndarray) -> set[tuple[int, int]]:
    """Each row (of length 1) with those it has the largest scalar products with."""
    count = min(NEIGHBOURS, len(vectors) - 1)
    pairs = set()
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float32)
        rows = np.arange(len(block))
        likeness = np.concatenate(
            [block @ vectors[at : at + _BLOCK].astype(np.float32).T for at in range(0, len(vectors), _BLOCK)], 1
        )
        likeness[rows, start + rows] = -np.inf
        others = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        ends = np.stack([np.repeat(start + rows, count), others.ravel()], 1)
        pairs |= set(map(tuple, np.sort(ends, 1).tolist()))
    return pairs


def _word_frequencies(descriptors: Sequence[np.ndarray]) -> np.ndarray:
    """How much of each visual word there is, the rare ones counting more: float16 (N, words), rows of length 1."""
    tables, bits = _WORD_BITS.shape
    counts = np.zeros((len(descriptors), tables << bits), np.float16)
    powers, first_words = 1 << np.arange(bits), np.arange(tables) << bits
    for row, entry in zip(counts, descriptors, strict=True):
        words = np.unpackbits(entry, axis=1)[:, _WORD_BITS] @ powers + first_words  # (K, tables)
        row[:] = np.sqrt(np.bincount(words.ravel(), minlength=len(row)))
    rarity = np.log(len(counts) / np.maximum(np.count_nonzero(counts, axis=0), 1)).astype(np.float32)
    for row in counts:
        weighted = row * rarity
        row[:] = weighted / (np.linalg.norm(weighted) or 1.0)
    return counts


def _inliers(one: _Features, other: _Features) -> int:
    """How many features of two pictures match and agree on one homography."""
    if min(len(one.points), len(other.points)) < MIN_INLIERS:
        return 0
    matches = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(one.descriptors, other.descriptors, k=2)
    good = [best for best, second in matches if best.distance < _RATIO * second.distance]
    if len(good) < MIN_INLIERS:
        return 0
    source = one.points[[match.queryIdx for match in good]]
    target = other.points[[match.trainIdx for match in good]]
    _, mask = cv2.findHomography(source, target, cv2.RANSAC, _REPROJECTION_PX, maxIters=500, confidence=0.99)
    return 0 if mask is None else int(mask.sum())
