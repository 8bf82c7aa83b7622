"""The undamaged synthetic road seen from above: asphalt, verge, markings, and what merely looks like damage.

A surface is a plane of `PIXELS_PER_M` pixels per metre, `ROAD_WIDTH_M` wide and `CHUNK_M` long; the far end is row 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import cv2
import numpy as np

PIXELS_PER_M = 56
ROAD_WIDTH_M = 11.0
CHUNK_M = 16.0
CHUNK_HW = (int(CHUNK_M * PIXELS_PER_M), int(ROAD_WIDTH_M * PIXELS_PER_M))


def to_pixels(points_m: np.ndarray) -> np.ndarray:
    """Surface pixels (x, y), int32 (N, 2), of road points (N, 2) in metres from the chunk's near end."""
    pixels = ([ROAD_WIDTH_M / 2, CHUNK_M] + points_m * [1, -1]) * PIXELS_PER_M
    return np.asarray(np.round(pixels), np.int32)


def smooth_noise(rng: np.random.Generator, size_hw: Tuple[int, int], cell_px: float) -> np.ndarray:
    """Noise of mean 0 and standard deviation about 1, float32, periodic along the rows so that chunks join."""
    height, width = size_hw
    rows, columns = max(2, round(height / cell_px)), max(2, round(width / cell_px))
    lattice = rng.standard_normal((rows, columns)).astype(np.float32)
    wrapped = np.vstack([lattice[-1:], lattice, lattice[:1]])  # a row to interpolate towards at either end
    cell = height / rows
    stretched = cv2.resize(wrapped, (width, round(height + 2 * cell)), interpolation=cv2.INTER_LINEAR)
    return stretched[round(cell) : round(cell) + height] * 1.5


def _verge_colour(rng: np.random.Generator) -> Tuple[float, float, float]:
    """Grass, dry grass or gravel, BGR, of any brightness."""
    kinds = np.array([(58, 96, 78), (82, 122, 128), (112, 118, 122)])
    return tuple(kinds[rng.integers(3)] * rng.uniform(0.75, 1.2) + rng.uniform(-6, 6, 3))


@dataclass(frozen=True)
class RoadStyle:
    """What stays the same along one road. Widths in metres, colours BGR in 0..255."""

    asphalt_grey: float
    grain: float
    tint_bgr: Tuple[float, float, float]
    verge_bgr: Tuple[float, float, float]
    paint_bgr: Tuple[float, float, float]
    lane_m: float
    lane_offset_m: float
    line_m: float
    left_dashed: bool
    right_dashed: bool
    road_half_m: float
    slab_joint_m: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "RoadStyle":
        """A random road."""
        yellow = rng.random() < 0.2
        warm = rng.uniform(-5, 5)
        return cls(
            asphalt_grey=rng.uniform(82, 150),
            grain=rng.uniform(4, 11),
            tint_bgr=(-warm, 0.0, warm),
            verge_bgr=_verge_colour(rng),
            paint_bgr=(90.0, 190.0, 225.0) if yellow else tuple(rng.uniform(212, 240) + rng.uniform(-5, 5, 3)),
            lane_m=rng.uniform(3.2, 3.8),
            lane_offset_m=rng.uniform(-0.3, 0.3),
            line_m=rng.uniform(0.12, 0.2),
            left_dashed=bool(rng.random() < 0.5),
            right_dashed=bool(rng.random() < 0.3),
            road_half_m=rng.uniform(3.6, 5.2),
            slab_joint_m=rng.uniform(4.5, 6.5) if rng.random() < 0.25 else 0.0,
        )

    @property
    def line_positions_m(self) -> Tuple[float, float]:
        """Centres of the left and the right lane line."""
        return self.lane_offset_m - self.lane_m / 2, self.lane_offset_m + self.lane_m / 2


def asphalt(style: RoadStyle, rng: np.random.Generator) -> np.ndarray:
    """The bare road and its verges, uint8 (*CHUNK_HW, 3); its first and last rows join."""
    height, width = CHUNK_HW
    grey = np.full(CHUNK_HW, style.asphalt_grey, np.float32)
    grey += 5.0 * smooth_noise(rng, CHUNK_HW, 90) + 3.0 * smooth_noise(rng, CHUNK_HW, 22)
    grey += style.grain * smooth_noise(rng, CHUNK_HW, 2.0)
    columns_m = np.arange(width, dtype=np.float32) / PIXELS_PER_M - ROAD_WIDTH_M / 2 - style.lane_offset_m
    wheels = np.exp(-(((np.abs(columns_m) - 0.8) / 0.3) ** 2))
    grey += rng.uniform(-9, 7) * wheels
    surface = cv2.merge([np.clip(grey + tint, 0, 255).astype(np.uint8) for tint in style.tint_bgr])
    ragged = 0.12 * smooth_noise(rng, (height, 1), 18)
    turf = 14.0 * smooth_noise(rng, CHUNK_HW, 4)
    edge = int((ROAD_WIDTH_M / 2 - style.road_half_m + 0.6) * PIXELS_PER_M)
    for columns in (np.s_[:edge], np.s_[width - edge :]):
        verge = np.abs(columns_m[columns] + style.lane_offset_m)[None] > style.road_half_m + ragged
        green = np.clip(turf[:, columns, None] + np.asarray(style.verge_bgr, np.float32), 0, 255).astype(np.uint8)
        surface[:, columns] = np.where(verge[..., None], green, surface[:, columns])
    return surface


def paint(surface: np.ndarray, mask: np.ndarray, wear: np.ndarray, style: RoadStyle) -> None:
    """Lay road paint where `mask` (uint8) is set, worn off where `wear` (float32, 0..1) says so; changes `surface`."""
    window = _window_of(mask)
    if window is None:
        return
    cover = (cv2.GaussianBlur(mask[window], (3, 3), 0).astype(np.float32) / 255 * (1 - wear[window]))[..., None]
    colour = np.asarray(style.paint_bgr, np.float32)
    surface[window] = (surface[window] * (1 - 0.92 * cover) + 0.92 * cover * colour).astype(np.uint8)


def lane_line_mask(style: RoadStyle, left: bool) -> np.ndarray:
    """Where the left or right lane line lies in a chunk, uint8 0 or 255; dashes of 4 m every 8 m."""
    mask = np.zeros(CHUNK_HW, np.uint8)
    centre = style.line_positions_m[0 if left else 1]
    dashed = style.left_dashed if left else style.right_dashed
    spans = [(1.0, 5.0), (9.0, 13.0)] if dashed else [(0.0, CHUNK_M)]
    for near, far in spans:
        corners = np.array([[centre - style.line_m / 2, far], [centre + style.line_m / 2, near]])
        (left_px, top), (right_px, bottom) = to_pixels(corners)
        mask[max(top, 0) : bottom, left_px:right_px] = 255
    return mask


def look_alikes(surface: np.ndarray, style: RoadStyle, rng: np.random.Generator) -> None:
    """Draw joints, tar seams, manholes, patches and wet spots: what a detector must not report; changes `surface`."""
    if style.slab_joint_m:
        for y_m in np.arange(rng.uniform(0.5, 2), CHUNK_M, style.slab_joint_m):
            ends = to_pixels(np.array([[-style.road_half_m, y_m], [style.road_half_m, y_m]]))
            cv2.line(surface, tuple(map(int, ends[0])), tuple(map(int, ends[1])), (60, 60, 60), 1, cv2.LINE_AA)
    if rng.random() < 0.35:
        _tar_seam(surface, style, rng)
    if rng.random() < 0.4:
        _manhole(surface, rng)
    if rng.random() < 0.35:
        _blend_patch(surface, rng, shade=rng.uniform(0.7, 0.85), soft=False)
    if rng.random() < 0.3:
        _blend_patch(surface, rng, shade=rng.uniform(0.72, 0.85), soft=True)


def _tar_seam(surface: np.ndarray, style: RoadStyle, rng: np.random.Generator) -> None:
    """A sealed seam: an even, wide, smooth black band, unlike the thin ragged crack."""
    x_m = rng.uniform(-1.4, 1.4)
    steps = np.linspace(0, CHUNK_M, 24)
    centre = x_m + np.cumsum(rng.normal(0, 0.03, len(steps)))
    pixels = to_pixels(np.column_stack([centre, steps]))
    shade = int(style.asphalt_grey * 0.42)
    cv2.polylines(surface, [pixels], False, (shade, shade, shade), int(rng.integers(6, 9)), cv2.LINE_AA)


def _manhole(surface: np.ndarray, rng: np.random.Generator) -> None:
    centre = tuple(map(int, to_pixels(np.array([[rng.uniform(-1.5, 1.5), rng.uniform(2, 14)]]))[0]))
    radius = int(rng.uniform(0.28, 0.36) * PIXELS_PER_M)
    shade = int(rng.integers(58, 92))
    cv2.circle(surface, centre, radius + 2, (shade + 50,) * 3, -1, cv2.LINE_AA)
    cv2.circle(surface, centre, radius, (shade,) * 3, -1, cv2.LINE_AA)
    for offset in range(-radius + 4, radius - 3, 5):
        half = int((radius**2 - offset**2) ** 0.5) - 3
        left, right = (centre[0] - half, centre[1] + offset), (centre[0] + half, centre[1] + offset)
        cv2.line(surface, left, right, (shade + 28,) * 3, 1, cv2.LINE_AA)


def _blend_patch(surface: np.ndarray, rng: np.random.Generator, shade: float, soft: bool) -> None:
    """A repaired rectangle, or with `soft` a wet spot; flat in tone, without the pothole's rim and depth."""
    mask = np.zeros(CHUNK_HW, np.uint8)
    x_m, y_m = rng.uniform(-1.6, 1.6), rng.uniform(2, 13)
    if soft:
        centre = tuple(map(int, to_pixels(np.array([[x_m, y_m]]))[0]))
        axes = (int(rng.uniform(0.3, 0.9) * PIXELS_PER_M), int(rng.uniform(0.6, 1.8) * PIXELS_PER_M))
        cv2.ellipse(mask, centre, axes, float(rng.uniform(-20, 20)), 0, 360, 255, -1)
        cv2.GaussianBlur(mask, (0, 0), 9, dst=mask)
    else:
        half_x, half_y = rng.uniform(0.3, 0.8), rng.uniform(0.4, 1.5)
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [half_x, half_y] + rng.normal(0, 0.04, (4, 2))
        cv2.fillPoly(mask, [to_pixels(corners + [x_m, y_m])], 255, cv2.LINE_AA)
    darken(surface, mask, shade)


def darken(surface: np.ndarray, mask: np.ndarray, shade: float) -> None:
    """Multiply by `shade` where `mask` (uint8) is 255, by less towards 0; changes `surface`."""
    window = _window_of(mask)
    if window is not None:
        cover = mask[window].astype(np.float32)[..., None] * (1 - shade) / 255
        surface[window] = (surface[window] * (1 - cover)).astype(np.uint8)


def _window_of(mask: np.ndarray) -> Optional[Tuple[slice, slice]]:
    """The smallest rows and columns that hold everything set in the mask, None where nothing is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else None
