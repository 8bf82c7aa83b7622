"""What a backend and its open sessions offer."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from bench.models import Model
from bench.results import Origin


class Session(Protocol):
    """A network made ready on a backend, batch 1."""

    settings: dict[str, Any]  # what decides the time: library version, threads, batch normalisation folded or not

    def run(self) -> None:
        """Once through the network on a fixed picture that lies ready; returns when the heads are there."""

    def forward(self, picture_rgb: np.ndarray) -> list[np.ndarray]:
        """The raw heads (h, w, A*(5+C)), float32 or int8, of a letterboxed picture, uint8 RGB (H, W, 3)."""


class Backend(Protocol):
    """One way of running networks.

    Attributes:
        name: in plans, JSON and file names.
        origin: of its times.
        scope: what is inside its time, in words.
    """

    name: str
    origin: Origin
    scope: str

    def missing(self) -> str | None:
        """Why it cannot be used on this machine, or None."""

    def takes(self, model: Model) -> bool:
        """Whether it can run such a model."""

    def identity(self) -> dict[str, Any]:
        """What a result follows from beside the model and the settings: versions and hardware."""

    def open(self, model: Model, threads: int) -> Session:
        """Make the network ready to run."""


def fixed_picture(input_hw: tuple[int, int]) -> np.ndarray:
    """The picture that every backend is timed on: noise, the same everywhere; uint8 (H, W, 3)."""
    return np.random.default_rng(1).integers(0, 256, (*input_hw, 3), dtype=np.uint8)


def as_input(picture_rgb: np.ndarray) -> np.ndarray:
    """The float network's input, float32 (1, 3, H, W), RGB / 255."""
    batch: np.ndarray = np.ascontiguousarray(picture_rgb.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
    return batch


def as_heads(outputs: list[np.ndarray]) -> list[np.ndarray]:
    """(1, C, h, w) each -> (h, w, C)."""
    return [np.ascontiguousarray(output[0].transpose(1, 2, 0)) for output in outputs]
