"""The six kinds of road damage, drawn onto a road surface seen from above.

Each `draw_*` changes the surface and returns the outline of what it drew, in metres (N, 2) from the chunk's near end,
from which the box in the picture follows. `strength` runs from 0 (hardly there) to 1 (severe).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import cv2
import numpy as np

from board_app.core.road_surface import CHUNK_HW, PIXELS_PER_M, RoadStyle, darken, paint, smooth_noise, to_pixels

ROAD_CLASSES = ("D00", "D10", "D20", "D40", "D43", "D44")
ROAD_LABELS = (
    "longitudinal crack",
    "transverse crack",
    "alligator crack",
    "pothole",
    "worn crosswalk",
    "worn lane line",
)


@dataclass(frozen=True)
class Damage:
    """One damage: its class and its outline in metres, float64 (N, 2), from the chunk's near end."""

    class_id: int
    outline_m: np.ndarray


def _wander(rng: np.random.Generator, start: np.ndarray, end: np.ndarray, spread_m: float) -> np.ndarray:
    """A crack's path (N, 2) from start to end: a random walk pinned at both ends, with small jags."""
    count = max(4, int(np.linalg.norm(end - start) / 0.12))
    walk = np.cumsum(rng.standard_normal(count))
    walk -= np.linspace(walk[0], walk[-1], count)
    walk *= spread_m / max(np.abs(walk).max(), 1e-6)
    along = (end - start) / np.linalg.norm(end - start)
    across = np.array([-along[1], along[0]])
    path = start + np.linspace(0, 1, count)[:, None] * (end - start)
    return path + (walk + rng.normal(0, 0.02, count))[:, None] * across


def _crack(surface: np.ndarray, rng: np.random.Generator, path_m: np.ndarray, strength: float) -> np.ndarray:
    """Draw one crack of uneven width with a few branches; returns all its points in metres."""
    mask = np.zeros(CHUNK_HW, np.uint8)
    pixels = to_pixels(path_m)
    width = 2.0 + 2.6 * strength
    for first, second in zip(pixels[:-1], pixels[1:]):
        thickness = max(1, round(width * rng.uniform(0.6, 1.4)))
        cv2.line(mask, tuple(map(int, first)), tuple(map(int, second)), 255, thickness, cv2.LINE_AA)
    points = [path_m]
    for _ in range(rng.integers(0, 2 + round(2 * strength))):
        root = path_m[rng.integers(1, len(path_m) - 1)]
        branch = root + np.cumsum(rng.normal(0, 0.06, (6, 2)) + rng.normal(0, 0.03, 2), axis=0)
        cv2.polylines(mask, [to_pixels(np.vstack([root, branch]))], False, 255, 1, cv2.LINE_AA)
        points.append(branch)
    darken(surface, mask, 0.55 - 0.33 * strength)
    return np.vstack(points)


def draw_longitudinal(
    surface: np.ndarray, style: RoadStyle, rng: np.random.Generator, at_m: np.ndarray, strength: float
) -> np.ndarray:
    """D00: a crack along the road, 1.6 to 4 m."""
    half = np.array([rng.uniform(-0.25, 0.25), rng.uniform(0.8, 2.0)])
    return _crack(surface, rng, _wander(rng, at_m - half, at_m + half, rng.uniform(0.12, 0.32)), strength)


def draw_transverse(
    surface: np.ndarray, style: RoadStyle, rng: np.random.Generator, at_m: np.ndarray, strength: float
) -> np.ndarray:
    """D10: a crack across the lane, 1.4 to 3.4 m."""
    half = np.array([rng.uniform(0.7, 1.7), rng.uniform(-0.25, 0.25)])
    return _crack(surface, rng, _wander(rng, at_m - half, at_m + half, rng.uniform(0.12, 0.32)), strength)


def _blob(rng: np.random.Generator, at_m: np.ndarray, half_m: np.ndarray, ragged: float) -> np.ndarray:
    """An irregular closed outline around a point, metres (N, 2)."""
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    radius = np.ones(len(angles))
    for order in range(2, 6):
        radius += ragged / order * rng.standard_normal() * np.cos(order * angles + rng.uniform(0, 6.28))
    return at_m + np.column_stack([np.cos(angles), np.sin(angles)]) * half_m * radius[:, None]


def draw_alligator(
    surface: np.ndarray, style: RoadStyle, rng: np.random.Generator, at_m: np.ndarray, strength: float
) -> np.ndarray:
    """D20: a net of cracks with cells of 0.15 to 0.25 m over 1 to 2.6 m (borders of a Voronoi diagram)."""
    outline = _blob(rng, at_m, rng.uniform((0.5, 0.6), (1.0, 1.3)), 0.15)
    region = np.zeros(CHUNK_HW, np.uint8)
    cv2.fillPoly(region, [to_pixels(outline)], 255)
    left, top, width, height = cv2.boundingRect(to_pixels(outline))
    left, top = max(left, 0), max(top, 0)
    plan = cv2.Subdiv2D((left - 40, top - 40, width + 80, height + 80))
    cell_px = rng.uniform(0.17, 0.28) * PIXELS_PER_M
    grid = np.mgrid[left : left + width : cell_px, top : top + height : cell_px].reshape(2, -1).T
    for x, y in grid + rng.normal(0, cell_px * 0.28, grid.shape):
        plan.insert((float(np.clip(x, left - 39, left + width + 39)), float(np.clip(y, top - 39, top + height + 39))))
    net = np.zeros(CHUNK_HW, np.uint8)
    facets, _ = plan.getVoronoiFacetList([])
    thickness = 1 if strength < 0.5 else 2
    for facet in facets:
        cv2.polylines(net, [np.round(facet).astype(np.int32)], True, 255, thickness, cv2.LINE_AA)
    darken(surface, region, 0.93)
    darken(surface, cv2.bitwise_and(net, region), 0.5 - 0.3 * strength)
    return outline


def draw_pothole(
    surface: np.ndarray, style: RoadStyle, rng: np.random.Generator, at_m: np.ndarray, strength: float
) -> np.ndarray:
    """D40: a hole of 0.5 to 1.3 m: rough dark bottom, shadow on one side, light broken rim."""
    half = rng.uniform(0.26, 0.62)
    outline = _blob(rng, at_m, half * rng.uniform((0.85, 0.85), (1.1, 1.4)), 0.22)
    pixels = to_pixels(outline)
    hole, rim = np.zeros(CHUNK_HW, np.uint8), np.zeros(CHUNK_HW, np.uint8)
    cv2.fillPoly(hole, [pixels], 255, cv2.LINE_AA)
    cv2.polylines(rim, [pixels], True, 255, 3, cv2.LINE_AA)
    left, top, width, height = cv2.boundingRect(pixels)
    window = np.s_[max(top - 4, 0) : top + height + 4, max(left - 4, 0) : left + width + 4]
    cover = hole[window].astype(np.float32) / 255
    rough = smooth_noise(rng, cover.shape, 4)
    ramp = np.linspace(-1, 1, cover.shape[1], dtype=np.float32)[None] * rng.choice([-1, 1])
    shade = np.clip(0.62 - 0.3 * strength + 0.12 * rough + 0.14 * ramp, 0.1, 1)
    surface[window] = (surface[window] * (1 - cover[..., None] * (1 - shade[..., None]))).astype(np.uint8)
    light = rim[window].astype(np.float32)[..., None] / 255 * np.clip(0.35 * rough[..., None], 0, 0.6)
    surface[window] = np.clip(surface[window] + light * 90, 0, 255).astype(np.uint8)
    return outline


def crosswalk_mask(style: RoadStyle, near_m: float, length_m: float) -> Tuple[np.ndarray, np.ndarray]:
    """Zebra stripes of 0.45 m over the road from `near_m` on: mask uint8 and outline in metres (4, 2)."""
    mask = np.zeros(CHUNK_HW, np.uint8)
    left, right = style.line_positions_m
    for x_m in np.arange(left + 0.15, right - 0.3, 0.9):
        (left_px, top), (right_px, bottom) = to_pixels(np.array([[x_m, near_m + length_m], [x_m + 0.45, near_m]]))
        mask[max(top, 0) : bottom, left_px:right_px] = 255
    corners = [[left + 0.15, near_m], [right, near_m], [right, near_m + length_m], [left + 0.15, near_m + length_m]]
    return mask, np.array(corners)


def worn(rng: np.random.Generator, share: float) -> np.ndarray:
    """Which part of a marking is gone: float32 0..1 over a chunk, flaked off on about `share` of the area."""
    flakes = smooth_noise(rng, CHUNK_HW, 7) + 0.6 * smooth_noise(rng, CHUNK_HW, 30)
    threshold = np.quantile(flakes[::8, ::8], 1 - share)
    return np.clip((flakes - threshold) * 2.5 + 0.5, 0, 1)


def draw_worn_crosswalk(
    surface: np.ndarray, style: RoadStyle, rng: np.random.Generator, at_m: np.ndarray, strength: float
) -> np.ndarray:
    """D43: a zebra crossing whose paint is mostly gone; 2 to 3 m long."""
    length = rng.uniform(2.0, 3.0)
    mask, outline = crosswalk_mask(style, at_m[1] - length / 2, length)
    paint(surface, mask, worn(rng, 0.45 + 0.3 * strength), style)
    return outline


DRAWERS = {
    "D00": draw_longitudinal,
    "D10": draw_transverse,
    "D20": draw_alligator,
    "D40": draw_pothole,
    "D43": draw_worn_crosswalk,
}
