"""Synthetic road scenes with true boxes, and a drive along a synthetic road with true tracks.

Made for tests, demonstrations and machines without data; accuracy on them says nothing about real roads.
Everything follows from the seed: the same seed gives the same pixels and boxes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Callable, Dict, List, Sequence, Tuple, Union

import cv2
import numpy as np

from board_app.core.road_camera import RoadCamera
from board_app.core.road_damage import (
    DRAWERS,
    ROAD_CLASSES,
    ROAD_LABELS,
    Damage,
    crosswalk_mask,
    worn,
)
from board_app.core.road_surface import (
    CHUNK_HW,
    CHUNK_M,
    PIXELS_PER_M,
    ROAD_WIDTH_M,
    RoadStyle,
    asphalt,
    darken,
    lane_line_mask,
    look_alikes,
    paint,
    smooth_noise,
    to_pixels,
)

__all__ = ["ROAD_CLASSES", "ROAD_LABELS", "DriveFrame", "RoadDrive", "RoadScene", "render_scene"]

_LABEL_RANGE_M = 9.0  # damage further away than this is too small to call and is not labelled
_LABEL_MARGIN = 0.013  # annotators leave a little room: share of the image width
_SMALLEST_SIDE = 0.022  # share of the image width under which a box is not labelled
_SMALLEST_VISIBLE = 0.3  # share of the outline that must lie inside the picture
_FIRST_DRAWN = ("D43", "D44", "D20", "D40", "D10", "D00")  # markings lie under cracks; large damage finds room first


@dataclass(frozen=True)
class RoadScene:
    """A picture and its damage: uint8 BGR (H, W, 3), boxes_xyxy float32 (N, 4) in pixels, class_id int32 (N,)."""

    image_bgr: np.ndarray
    boxes_xyxy: np.ndarray
    class_id: np.ndarray


@dataclass(frozen=True)
class DriveFrame(RoadScene):
    """A picture of a drive; `track_id` int32 (N,) stays the same for one damage over all frames."""

    track_id: np.ndarray


@dataclass(frozen=True)
class _Light:
    """How a road is lit and photographed."""

    gain: float
    gamma: float
    tint_bgr: Tuple[float, float, float]
    noise: float
    vignette: float
    sky_bgr: Tuple[float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Light":
        warm = rng.uniform(-0.05, 0.05)
        return cls(
            gain=rng.uniform(0.8, 1.2),
            gamma=rng.uniform(0.88, 1.15),
            tint_bgr=(1 - warm, 1.0, 1 + warm),
            noise=rng.uniform(1.0, 4.5),
            vignette=rng.uniform(0.0, 0.3),
            sky_bgr=tuple(rng.uniform(185, 240) + rng.uniform(0, 18) * np.array([1.0, 0.2, -1.0])),
        )


def _overlaps(outline_m: np.ndarray, others: Sequence[np.ndarray], room_m: float = 0.2) -> bool:
    """Whether the bounding rectangle on the road, with some room, meets one of the others'."""
    low, high = outline_m.min(0) - room_m, outline_m.max(0) + room_m
    return any(np.all(low < other.max(0)) and np.all(other.min(0) < high) for other in others)


def _wear_lane_line(
    style: RoadStyle, rng: np.random.Generator, along_m: float, strength: float, wear: Dict[bool, np.ndarray]
) -> Tuple[np.ndarray, Callable[[], None]]:
    """A worn stretch of 2 to 4 m of the left or right line: its outline, and what wears it off."""
    is_left, half_m = bool(rng.random() < 0.5), rng.uniform(1.0, 2.0)
    if style.left_dashed if is_left else style.right_dashed:
        along_m, half_m = (3.0, 2.0) if along_m < 7 else (11.0, 2.0)  # one whole dash
    centre = np.array([style.line_positions_m[0 if is_left else 1], along_m])
    outline = centre + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [style.line_m / 2 + 0.06, half_m]
    rows = np.clip(to_pixels(outline)[:, 1], 0, CHUNK_HW[0])

    def apply() -> None:
        wear[is_left][rows.min() : rows.max()] = worn(rng, 0.5 + 0.3 * strength)[rows.min() : rows.max()]

    return outline, apply


def _draw_lines(
    surface: np.ndarray, style: RoadStyle, wear: Dict[bool, np.ndarray], gaps: Sequence[np.ndarray]
) -> None:
    """Paint both lane lines, left out over the crossings `gaps` (outlines in metres); changes `surface`."""
    for is_left in (True, False):
        mask = lane_line_mask(style, is_left)
        for outline in gaps:
            rows = np.clip(to_pixels(outline)[:, 1], 0, CHUNK_HW[0])
            mask[rows.min() : rows.max()] = 0
        paint(surface, mask, wear[is_left], style)


def _draw_chunk(
    base: np.ndarray, style: RoadStyle, rng: np.random.Generator, count: int, reach_m: Tuple[float, float]
) -> Tuple[np.ndarray, List[Damage]]:
    """One chunk of road with up to `count` damages whose centres lie `reach_m` (nearest, furthest) along it."""
    surface = base.copy()
    look_alikes(surface, style, rng)
    wear = {is_left: np.full(CHUNK_HW, 0.06, np.float32) for is_left in (True, False)}
    wished = [ROAD_CLASSES[index] for index in rng.integers(0, len(ROAD_CLASSES), count)]
    crossings: List[np.ndarray] = []
    damages: List[Damage] = []
    if "D43" not in wished and rng.random() < 0.12:
        mask, outline = crosswalk_mask(style, rng.uniform(2, CHUNK_M - 4), rng.uniform(2, 3))
        paint(surface, mask, np.full(CHUNK_HW, 0.05, np.float32), style)
        crossings.append(outline)  # intact: no damage, but it keeps its place
    lines_drawn = False
    for name in sorted(wished, key=_FIRST_DRAWN.index):
        if name not in ("D43", "D44") and not lines_drawn:
            _draw_lines(surface, style, wear, crossings)
            lines_drawn = True
        taken = crossings + [damage.outline_m for damage in damages if damage.class_id != ROAD_CLASSES.index("D43")]
        for _ in range(8):
            left, right = style.line_positions_m
            at_m = np.array([rng.uniform(left + 0.5, right - 0.5), rng.uniform(*reach_m)])
            strength = float(rng.beta(1.6, 1.2))
            trial = np.random.default_rng(rng.integers(1 << 31))
            drawn = surface
            if name == "D44":
                outline, apply = _wear_lane_line(style, trial, at_m[1], strength, wear)
            else:
                drawn = surface.copy()
                outline = DRAWERS[name](drawn, style, trial, at_m, strength)
            if _overlaps(outline, taken):
                continue
            surface = drawn
            if name == "D44":
                apply()
            if name == "D43":
                crossings.append(outline)
            damages.append(Damage(ROAD_CLASSES.index(name), outline))
            break
    if not lines_drawn:
        _draw_lines(surface, style, wear, crossings)
    if rng.random() < 0.45:
        _cast_shadow(surface, rng)
    return surface, damages


def _cast_shadow(surface: np.ndarray, rng: np.random.Generator) -> None:
    """The shadow of a tree or a pole across the road; changes `surface`."""
    small = (CHUNK_HW[0] // 4, CHUNK_HW[1] // 4)
    crown = smooth_noise(rng, small, 14) + 0.7 * smooth_noise(rng, small, 5)
    rows = np.linspace(0, 1, small[0], dtype=np.float32)[:, None]
    columns = np.linspace(0, 1, small[1], dtype=np.float32)[None]
    reach = (columns if rng.random() < 0.5 else 1 - columns) * rng.uniform(1.0, 2.2)
    across = np.abs(rows - rng.uniform(0.1, 0.9) + 0.3 * (columns - 0.5)) * rng.uniform(3, 7)
    dark = cv2.GaussianBlur((crown > 2.2 * (reach + across) - 1.2).astype(np.float32), (0, 0), 1.2)
    dark = cv2.resize(dark, CHUNK_HW[::-1], interpolation=cv2.INTER_LINEAR)
    darken(surface, (255 * dark).astype(np.uint8), shade=rng.uniform(0.5, 0.7))


def _photograph(
    ground: np.ndarray,
    style: RoadStyle,
    far_end_m: float,
    position_m: float,
    camera: RoadCamera,
    light: _Light,
    horizon_seed: int,
    noise_seed: Union[int, Sequence[int]],
) -> np.ndarray:
    """The picture of a ground plane whose row 0 lies at `far_end_m`, seen from `position_m`; uint8 BGR."""
    height, width = camera.size_hw
    to_road = np.array(
        [
            [1 / PIXELS_PER_M, 0, -ROAD_WIDTH_M / 2],
            [0, -1 / PIXELS_PER_M, far_end_m - position_m],
            [0, 0, 1],
        ]
    )
    picture = cv2.warpPerspective(
        ground,
        camera.road_to_image() @ to_road,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=style.verge_bgr,
    ).astype(np.float32)
    _put_background(picture, camera, light, np.random.default_rng(horizon_seed))
    rng = np.random.default_rng(noise_seed)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    gain = light.gain * (1 - light.vignette * (x * x + y * y) / 2)
    picture *= gain[..., None] * np.asarray(light.tint_bgr, np.float32)
    picture += light.noise * rng.standard_normal((height, width, 1), dtype=np.float32)
    return np.asarray(255 * np.clip(picture / 255, 0, 1) ** light.gamma, np.uint8)


def _put_background(picture: np.ndarray, camera: RoadCamera, light: _Light, rng: np.random.Generator) -> None:
    """Sky, and a hedge or houses along the horizon, over the top rows; changes `picture`."""
    height, width = camera.size_hw
    row = camera.horizon_row()
    tilt = np.tan(np.radians(camera.roll_deg)) * (np.arange(width) - width / 2)
    hidden = camera.project(np.array([[0.0, CHUNK_M - 0.5]]))[0, 1] - row  # the hedge stands before the ground's end
    depth = max(hidden, 0.03 * height) + 0.006 * height * smooth_noise(rng, (1, width), 6)[0]
    crowns = 0.03 * smooth_noise(rng, (1, width), width / 8)[0] + 0.012 * smooth_noise(rng, (1, width), width / 60)[0]
    top = row + tilt - height * np.abs(0.05 + crowns)
    rows = np.arange(height)[:, None]
    reach = min(height, int((row + tilt + depth).max()) + 1)
    if reach <= 0:
        return
    leaves = np.array([40, 62, 52], np.float32) * rng.uniform(0.7, 1.3) + rng.uniform(-8, 8, 3)
    texture = smooth_noise(rng, (reach, width), 5) + smooth_noise(rng, (reach, width), 16)
    hedge = leaves + 9 * texture[..., None]
    above = (rows < (row + tilt + depth)[None])[:reach]
    sky = (rows < top[None])[:reach]
    picture[:reach] = np.where(sky[..., None], light.sky_bgr, np.where(above[..., None], hedge, picture[:reach]))


def _visible(
    damages: Sequence[Damage], origins_m: Sequence[float], position_m: float, camera: RoadCamera
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes float32 (N, 4), classes int32 (N,) and indices int32 (N,) of the damages to be labelled in a picture."""
    height, width = camera.size_hw
    margin, smallest = _LABEL_MARGIN * width, _SMALLEST_SIDE * width
    boxes, classes, indices = [], [], []
    for index, (damage, origin_m) in enumerate(zip(damages, origins_m)):
        outline = damage.outline_m + [0, origin_m - position_m]
        if outline[:, 1].max() < 0.3 or outline[:, 1].min() > _LABEL_RANGE_M:
            continue
        points = _dense(outline)
        pixels = camera.project(points[points[:, 1] > 0.3])  # nearer ones have no picture
        inside = pixels[np.all((pixels >= 0) & (pixels <= [width, height]), axis=1)]
        if len(inside) < max(_SMALLEST_VISIBLE * len(points), 1):
            continue
        low, high = np.maximum(inside.min(0) - margin, 0), np.minimum(inside.max(0) + margin, [width, height])
        if (high - low).min() < smallest:
            continue
        box = np.concatenate([low, high]).astype(np.float32)
        boxes.append(box)
        classes.append(damage.class_id)
        indices.append(index)
    return (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int32),
        np.array(indices, np.int32),
    )


def _dense(outline_m: np.ndarray) -> np.ndarray:
    """Points along the outline; the few corners of a rectangle are joined by 16 points a side."""
    if len(outline_m) > 8:
        return outline_m
    steps = np.linspace(0, 1, 16)[:, None]
    return np.vstack([a + steps * (b - a) for a, b in zip(outline_m, np.roll(outline_m, -1, axis=0))])


def _draw_camera(rng: np.random.Generator, size_hw: Tuple[int, int]) -> RoadCamera:
    return RoadCamera(
        size_hw=size_hw,
        height_m=rng.uniform(1.5, 2.1),
        pitch_deg=rng.uniform(21, 31),
        yaw_deg=rng.uniform(-6, 6),
        roll_deg=rng.uniform(-1.5, 1.5),
        lateral_m=rng.uniform(-0.4, 0.4),
        view_deg=rng.uniform(60, 74),
    )


def render_scene(seed: int, size_hw: Tuple[int, int] = (320, 448)) -> RoadScene:
    """A still picture of a random road with 0 to 5 damages.

    Args:
        seed: 0 or more; every seed is another road, camera and light.
        size_hw: height and width in pixels.
    """
    rng = np.random.default_rng([seed, 0])
    style, light, camera = RoadStyle.draw(rng), _Light.draw(rng), _draw_camera(rng, size_hw)
    base = asphalt(style, rng)
    count = int(rng.choice(6, p=[0.06, 0.22, 0.28, 0.24, 0.14, 0.06]))
    surface, damages = _draw_chunk(base, style, rng, count, (1.6, 7.5))
    seeds = [int(seed) for seed in rng.integers(1 << 31, size=2)]
    image = _photograph(surface, style, CHUNK_M, 0.0, camera, light, seeds[0], seeds[1])
    boxes, classes, _ = _visible(damages, [0.0] * len(damages), 0.0, camera)
    return RoadScene(image, boxes, classes)


class RoadDrive:
    """A camera moving along an endless random road.

    Args:
        seed: another road for every seed; drives and `render_scene` never share a road.
        size_hw: height and width of the frames in pixels.
        fps: frames a second of the drive.
        speed_m_s: of the car.
    """

    def __init__(
        self, seed: int, size_hw: Tuple[int, int] = (480, 672), fps: float = 15.0, speed_m_s: float = 8.0
    ) -> None:
        rng = np.random.default_rng([seed, 1])
        self.seed, self.fps, self.speed_m_s = seed, fps, speed_m_s
        self._style, self._light, self._camera = RoadStyle.draw(rng), _Light.draw(rng), _draw_camera(rng, size_hw)
        self._base = asphalt(self._style, rng)
        self._horizon_seed = int(rng.integers(1 << 31))
        self._chunks: "OrderedDict[int, Tuple[np.ndarray, List[Damage]]]" = OrderedDict()

    def _chunk(self, index: int) -> Tuple[np.ndarray, List[Damage]]:
        if index not in self._chunks:
            rng = np.random.default_rng([self.seed, 2, index])
            count = int(rng.choice(4, p=[0.1, 0.4, 0.35, 0.15]))
            self._chunks[index] = _draw_chunk(self._base, self._style, rng, count, (2.5, CHUNK_M - 2.5))
            while len(self._chunks) > 3:
                self._chunks.popitem(last=False)
        return self._chunks[index]

    def frame(self, index: int) -> DriveFrame:
        """The frame number `index` (0 or more), its damages and their track numbers."""
        position_m = index / self.fps * self.speed_m_s
        first = int(position_m // CHUNK_M)
        near, far = self._chunk(first), self._chunk(first + 1)
        image = _photograph(
            np.vstack([far[0], near[0]]),
            self._style,
            (first + 2) * CHUNK_M,
            position_m,
            self._camera,
            self._light,
            self._horizon_seed,
            [self.seed, 3, index],
        )
        damages = near[1] + far[1]
        origins = [first * CHUNK_M] * len(near[1]) + [(first + 1) * CHUNK_M] * len(far[1])
        boxes, classes, indices = _visible(damages, origins, position_m, self._camera)
        tracks = [first * 100 + i if i < len(near[1]) else (first + 1) * 100 + i - len(near[1]) for i in indices]
        return DriveFrame(image, boxes, classes, np.array(tracks, np.int32))
