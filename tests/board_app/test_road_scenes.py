"""Synthetic road scenes and drives."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from board_app.core.boxes import iou
from board_app.core.road_camera import RoadCamera
from board_app.core.road_damage import DRAWERS, ROAD_CLASSES
from board_app.core.road_scenes import RoadDrive, render_scene
from board_app.core.road_surface import CHUNK_HW, RoadStyle, asphalt, smooth_noise

SIZE_HW = (160, 224)


@pytest.fixture(scope="module")
def scenes():
    return [render_scene(seed, SIZE_HW) for seed in range(24)]


def test_a_seed_always_gives_the_same_picture_and_boxes(scenes) -> None:
    """Rendering is a pure function of seed and size."""
    again = render_scene(5, SIZE_HW)
    assert hashlib.sha256(again.image_bgr).digest() == hashlib.sha256(scenes[5].image_bgr).digest()
    np.testing.assert_array_equal(again.boxes_xyxy, scenes[5].boxes_xyxy)


def test_every_seed_is_another_scene(scenes) -> None:
    """No two of the pictures are equal."""
    assert len({hashlib.sha256(scene.image_bgr).digest() for scene in scenes}) == len(scenes)


def test_boxes_lie_inside_the_picture_and_have_an_area(scenes) -> None:
    """Every label is a box that a reader of datasets accepts."""
    for scene in scenes:
        assert scene.image_bgr.shape == (*SIZE_HW, 3) and scene.image_bgr.dtype == np.uint8
        assert scene.boxes_xyxy.dtype == np.float32 and scene.class_id.dtype == np.int32
        boxes = scene.boxes_xyxy
        assert np.all(boxes >= 0) and np.all(boxes[:, 2] <= SIZE_HW[1]) and np.all(boxes[:, 3] <= SIZE_HW[0])
        assert np.all(boxes[:, 2:] - boxes[:, :2] >= 4)


def test_all_six_classes_and_undamaged_roads_occur() -> None:
    """A modest number of scenes shows every kind of damage, and some show none."""
    many = [render_scene(seed, (64, 96)) for seed in range(100, 160)]
    assert set(np.concatenate([scene.class_id for scene in many])) == set(range(len(ROAD_CLASSES)))
    assert any(not len(scene.class_id) for scene in many)


@pytest.mark.parametrize("name", sorted(DRAWERS))
def test_a_drawn_damage_lies_within_its_outline(name: str) -> None:
    """What a drawer changes is inside the outline it reports, up to the width of a brush stroke."""
    style = RoadStyle.draw(np.random.default_rng(3))
    before = asphalt(style, np.random.default_rng(4))
    surface = before.copy()
    outline = DRAWERS[name](surface, style, np.random.default_rng(5), np.array([0.0, 8.0]), 0.8)
    rows, columns = np.nonzero(np.any(surface != before, axis=2))
    changed_m = np.column_stack([columns / 56 - 5.5, 16 - rows / 56])
    assert len(changed_m) > 100
    assert np.all(changed_m >= outline.min(0) - 0.15) and np.all(changed_m <= outline.max(0) + 0.15)


def test_the_surface_joins_its_own_copy() -> None:
    """The texture is periodic along the road, so that a drive shows no edge between chunks."""
    noise = smooth_noise(np.random.default_rng(1), CHUNK_HW, 30)
    steps = np.abs(np.diff(noise, axis=0)).mean(1)
    assert np.abs(noise[0] - noise[-1]).mean() < 3 * steps.max()


def test_the_camera_projects_as_its_homography_says() -> None:
    """A point straight ahead of a level camera lies in the middle column, nearer ones lower."""
    camera = RoadCamera((480, 640))
    pixels = camera.project(np.array([[0.0, 3.0], [0.0, 6.0], [1.0, 6.0]]))
    np.testing.assert_allclose(pixels[:2, 0], 320, atol=1e-6)
    assert pixels[0, 1] > pixels[1, 1] > camera.horizon_row()
    assert pixels[2, 0] > 320


def test_a_drive_does_not_depend_on_where_it_is_entered() -> None:
    """Frame 40 is the same after frames 0 to 39 as alone."""
    through = RoadDrive(7, SIZE_HW)
    for index in range(0, 40, 8):
        through.frame(index)
    alone = RoadDrive(7, SIZE_HW).frame(40)
    np.testing.assert_array_equal(through.frame(40).image_bgr, alone.image_bgr)
    np.testing.assert_array_equal(through.frame(40).track_id, alone.track_id)


def test_a_track_is_one_damage_coming_nearer() -> None:
    """From frame to frame a track keeps its class and its box overlaps the last one, moving down the picture."""
    drive = RoadDrive(11, SIZE_HW, fps=30)
    frames = [drive.frame(index) for index in range(120)]
    last = {}
    seen = 0
    for frame in frames:
        for box, class_id, track in zip(frame.boxes_xyxy, frame.class_id, frame.track_id, strict=True):
            if track in last:
                before_box, before_class = last[track]
                assert class_id == before_class
                assert iou(box[None], before_box[None])[0, 0] > 0.05
                seen += 1
            last[track] = (box, class_id)
        assert len(set(frame.track_id)) == len(frame.track_id)
    assert seen > 20
