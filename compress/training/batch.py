"""Pictures on their way through the network, with their truths, and what a stage may add to a training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """What goes through the network at once; N pictures with M truths.

    Attributes:
        images: RGB (N, 3, H, W); uint8 as the loader gives them, float32 in 0..1 after `on`.
        truths: float32 (M, 6): position of the picture in this batch, class, box centre x, y, width, height in pixels.
        indices: int64 (N,), of the pictures in the training set.
        plain: no picture was varied, so what a teacher says to them may be kept.
    """

    images: Tensor
    truths: Tensor
    indices: Tensor
    plain: bool = False

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of its pictures."""
        return self.images.shape[2], self.images.shape[3]

    def on(self, device: torch.device) -> Batch:
        """The same batch on a device, its images as the network takes them: float32 in 0..1, channels last."""
        images = self.images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        truths = self.truths.to(device, non_blocking=True)
        return replace(self, images=images.float().div_(255), truths=truths)


class StepHook:
    """What a stage adds to the plain training; this one adds nothing.

    The trainer weights a micro-batch by its share of the optimiser's batch, so that results do not depend on how a
    batch is cut. A term that is normalised is normalised for each picture alone, never over the micro-batch.
    """

    def begin(self, steps: int) -> None:
        """Called once before training, or going on, with the optimiser steps of the whole training."""

    def extra_loss(self, batch: Batch, raw_heads: Sequence[Tensor]) -> dict[str, Tensor]:
        """Named terms beside the loss on the labels: scalars, already weighted, means over the batch's pictures."""
        return {}

    def before_step(self, step: int) -> None:
        """Called when the gradients of a whole optimiser step are there, summed over all processes and clipped."""

    def after_step(self, step: int, learning_rate: float) -> None:
        """Called after every optimiser step, 0-based over the whole training."""

    def metrics(self) -> Metrics:
        """What to add to the epoch's line in metrics.jsonl; the terms of `extra_loss` are in it anyway."""
        return {}

    def status(self) -> str:
        """A word or two for the line of every epoch."""
        return ""

    def settle(self, averaged: nn.Module) -> None:
        """Called before the averaged network is evaluated; may mend in it what averaging blurred."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep: tensors, numbers and containers of them."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
