"""What one stage would take, and how that was found out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from compress.config import TrainingConfig
from compress.estimate.probe import STEPS, Cost, Step
from compress.training.average import STATISTICS_IMAGES


@dataclass(frozen=True)
class Splits:
    """Numbers of pictures."""

    train: int
    val: int


@dataclass(frozen=True)
class StageEstimate:
    """One stage's share of a run.

    Attributes:
        stage: its name.
        params: of the network it works on.
        gmacs: 1e9 multiply-accumulates of one picture.
        epochs: of its training; 0: none.
        training_s: seconds of the optimiser's steps, or of the stage's own work.
        evaluation_s: seconds for mAP figures and checkpoints.
        process_bytes: the most memory at once.
        gpu_bytes: the same of a GPU; 0: none is used.
        disk_bytes: at most, while it runs.
        origin: estimated from what.
    """

    stage: str
    params: int
    gmacs: float
    epochs: int
    training_s: float
    evaluation_s: float
    process_bytes: int
    gpu_bytes: int
    disk_bytes: int
    origin: str

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.training_s + self.evaluation_s

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"seconds": self.seconds}


def training_estimate(
    stage: str, size: tuple[int, float], training: TrainingConfig, cost: Cost, ran: Step, splits: Splits, cache: int
) -> StageEstimate:
    """A training's estimate from what its steps cost.

    Args:
        stage: its name.
        size: parameters and GMACs of its network.
        training: epochs, batch size, and how often mAP is measured.
        cost: of its step.
        ran: the largest step that was really run.
        splits: the pictures.
        cache: bytes of decoded pictures that are kept.
    """
    steps = training.epochs * max(1, splits.train // training.batch_size)
    evaluations = math.ceil(training.epochs / training.evaluate_every)
    passes = evaluations * (splits.val + min(STATISTICS_IMAGES, splits.train))
    return StageEstimate(
        stage,
        *size,
        training.epochs,
        training_s=steps * cost.step_s,
        evaluation_s=passes * cost.evaluation_s + training.epochs * cost.save_s,
        process_bytes=cost.peak_bytes + cache,
        gpu_bytes=cost.gpu_bytes,
        disk_bytes=2 * cost.checkpoint_bytes,  # the old one stays until the new one is whole
        origin=_origin(cost.step, ran, training.multi_scale),
    )


def _origin(wanted: Step, ran: Step, multi_scale: tuple[int, int] | None) -> str:
    text = f"estimated from {STEPS - 1} measured steps of {_words(ran)}"
    if ran != wanted:
        text += f" and of smaller ones, scaled by their pixels to {_words(wanted)}"
    if multi_scale and multi_scale[1] > max(wanted.input_hw):
        text += f"; steps of pictures up to {multi_scale[1]} pixels need more memory"
    return text


def _words(step: Step) -> str:
    height, width = step.input_hw
    return f"{step.images} image{'s' if step.images > 1 else ''} at {height}x{width}"
