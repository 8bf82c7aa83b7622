"""The camera of the synthetic road: a pinhole over a flat road, as one homography.

Road coordinates are metres: x to the right of the camera's lane centre, y ahead along the road.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import numpy as np


@dataclass(frozen=True)
class RoadCamera:
    """A forward-looking camera behind the windscreen.

    Attributes:
        size_hw: image height and width in pixels.
        height_m: above the road.
        pitch_deg: downwards from the horizon.
        yaw_deg: to the right of the road's direction.
        roll_deg: clockwise.
        lateral_m: position to the right of the lane centre.
        view_deg: horizontal angle of view.
    """

    size_hw: Tuple[int, int]
    height_m: float = 1.7
    pitch_deg: float = 25.0
    yaw_deg: float = 0.0
    roll_deg: float = 0.0
    lateral_m: float = 0.0
    view_deg: float = 66.0

    def road_to_image(self) -> np.ndarray:
        """The homography from road metres (x, y ahead of the camera, 1) to homogeneous pixels; float64 (3, 3)."""
        height, width = self.size_hw
        focal = width / 2 / np.tan(np.radians(self.view_deg) / 2)
        intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        pitch, yaw, roll = np.radians([self.pitch_deg, self.yaw_deg, self.roll_deg])
        # Camera axes: x right, y down, z forward. World axes: x right, y ahead, z up.
        level = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
        tilt = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        rotation = tilt @ nod @ level @ turn
        translation = -rotation @ np.array([self.lateral_m, 0, self.height_m])
        return intrinsics @ np.column_stack([rotation[:, 0], rotation[:, 1], translation])

    def horizon_row(self) -> float:
        """The image row of the horizon at the image centre, in pixels from the top (may be negative)."""
        height, width = self.size_hw
        focal = width / 2 / np.tan(np.radians(self.view_deg) / 2)
        return float(height / 2 - focal * np.tan(np.radians(self.pitch_deg)))

    def project(self, points_m: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of road points (N, 2) in metres ahead of the camera."""
        homogeneous = np.column_stack([points_m, np.ones(len(points_m))]) @ self.road_to_image().T
        return homogeneous[:, :2] / homogeneous[:, 2:]
