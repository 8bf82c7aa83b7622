"""Probes: a few real optimiser steps and evaluations, timed, and from two of them a larger step's time and memory."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch

from compress.config import CompressConfig, TrainingConfig
from compress.darknet.network import DarknetNetwork
from compress.data.sample import Sample
from compress.estimate.memory import Peak, forget_peak, kept_for_backward, peak, reset_peak
from compress.quantization.grid_network import GridNetwork
from compress.training.average import STATISTICS_IMAGES
from compress.training.batch import StepHook
from compress.training.evaluation import evaluate
from compress.training.loader import TrainingImages
from compress.training.trainer import Training

STEPS = 3  # of a probe; the first warms up
_SMALLEST = 64  # pixels of a side: below, a batch of one has no BN statistics
_NO_RATE = 1e-12  # an untrained network at full rate may run off to infinity; the time is the same
_SECONDS = 6.0  # that the steps of a probe may take
_APART = 8  # times the first step's pixels: at least the second's, or the line through both would be chance
_WORTH = 3  # times the last step: what a further probe must be to be run
_MEMORY_SHARE = 0.5  # of what is available, that a probe may take

# For pictures of a size: the network that is trained, and what the stage adds.
Workload = (
    Callable[[tuple[int, int]], tuple[DarknetNetwork, StepHook]]
    | Callable[[tuple[int, int]], tuple[GridNetwork, StepHook]]
)


@dataclass(frozen=True)
class Step:
    """An optimiser's step: so many pictures of a size, `at_once` of them through the network together."""

    images: int
    input_hw: tuple[int, int]
    at_once: int

    @property
    def picture(self) -> int:
        """Pixels of one picture: what its time grows with."""
        return self.input_hw[0] * self.input_hw[1]

    @property
    def pixels(self) -> int:
        """Of all pictures: what the step's time grows with."""
        return self.images * self.picture

    @property
    def pixels_at_once(self) -> int:
        """What the memory grows with."""
        return self.at_once * self.picture


@dataclass(frozen=True)
class Cost:
    """What a step costs, and the end of an epoch.

    Attributes:
        step: the pictures of a step.
        step_s: seconds of an optimiser step, pictures varied and network updated.
        evaluation_s: seconds to evaluate one picture.
        save_s: seconds of what else ends an epoch: the checkpoint.
        process_bytes: the most memory in use in a step's forward and backward passes.
        gpu_bytes: the same of a GPU.
        kept_bytes: what the step's pictures leave in memory until the backward pass, in float32.
        other_bytes: the most in use at any time, what does not grow with the pictures included.
        checkpoint_bytes: on disk while the training runs.
    """

    step: Step
    step_s: float
    evaluation_s: float
    save_s: float
    process_bytes: int
    gpu_bytes: int
    kept_bytes: int
    other_bytes: int
    checkpoint_bytes: int

    @property
    def peak_bytes(self) -> int:
        """The most memory in use at all."""
        return max(self.process_bytes, self.other_bytes)

    def scaled(self, smaller: Cost, step: Step) -> Cost:
        """Another step's cost, its time and memory on the line through this one and a smaller one."""
        if step == self.step:
            return self

        def along(name: str, size: str) -> float:
            mine, other = getattr(self, name), getattr(smaller, name)
            at, other_at, wanted = (getattr(each, size) for each in (self.step, smaller.step, step))
            slope = (mine - other) / (at - other_at) if at > other_at else mine / at
            return float(mine + max(slope, 0.0) * (wanted - at))

        return replace(
            self,
            step=step,
            step_s=along("step_s", "pixels"),
            evaluation_s=along("evaluation_s", "picture"),
            process_bytes=int(along("process_bytes", "pixels_at_once")),
            gpu_bytes=int(along("gpu_bytes", "pixels_at_once")),
        )


@dataclass(frozen=True)
class Prober:
    """Runs probes with a run's own settings.

    Attributes:
        config: the run's.
        samples: pictures to take, again and again if they are few.
        class_names: of the pictures' class ids.
        memory_bytes: what a step has, of which a probe takes a part.
    """

    config: CompressConfig
    samples: Sequence[Sample]
    class_names: Sequence[str]
    memory_bytes: int

    def cost(self, work: Workload, training: TrainingConfig) -> tuple[Cost, Step]:
        """What a step of this training costs, and the largest step that was run for it."""
        at_once = min(training.micro_batch or training.batch_size, training.batch_size)
        wanted = Step(training.batch_size, self.config.network.input_hw, at_once)
        costs = [self.measure(work, training, _smallest(wanted))]
        while costs[-1].step != wanted:
            larger = _largest_within(costs[-1], wanted, self.memory_bytes * _MEMORY_SHARE)
            if len(costs) == 1:
                larger = max(larger, _far_from(costs[0].step, wanted), key=lambda step: step.pixels)
            elif larger != wanted and larger.pixels < _WORTH * costs[-1].step.pixels:
                break
            costs.append(self.measure(work, training, larger))
        return costs[-1].scaled(costs[0], wanted), costs[-1].step

    def measure(self, work: Workload, training: TrainingConfig, step: Step) -> Cost:
        """Run a few steps and one evaluation, as a training does."""
        changes: dict[str, Any] = {
            "epochs": 1,
            "batch_size": step.images,
            "micro_batch": step.at_once,
            "evaluate_every": 1,
        }
        changes |= {
            "learning_rate": _NO_RATE,
            "statistics_batch": None,
            "multi_scale": None,
            "patience": None,
            "checkpoint_minutes": None,
        }
        config = training.model_copy(update=changes)
        forget_peak()
        with tempfile.TemporaryDirectory() as folder, quiet():
            network, hook = work(step.input_hw)
            network = cast("DarknetNetwork", network)  # a training takes either
            images, held_out = self._images(step, STEPS * step.images), self._images(step, step.images)
            kept_bytes = kept_for_backward(network, torch.zeros(step.at_once, 3, *step.input_hw))
            notes = _noted(hook)
            training_run = Training(
                network, images, held_out, self.class_names, config, Path(folder), hook, workers=self.config.workers
            )
            averaged, _ = training_run.run()
            ended = time.monotonic()
            evaluate(averaged, network.heads, held_out, self.class_names)
            notes.take()
            evaluation_s = (time.monotonic() - ended) / len(held_out)
            checkpoint_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
        ends, passes = notes.ends, len(held_out) + min(STATISTICS_IMAGES, len(images))
        return Cost(
            step=step,
            step_s=statistics.median(late - early for early, late in zip(ends, ends[1:], strict=False)),
            evaluation_s=evaluation_s,
            save_s=max(ended - ends[-1] - passes * evaluation_s, 0.0),
            process_bytes=notes.passes.process_bytes,
            gpu_bytes=notes.passes.gpu_bytes,
            kept_bytes=kept_bytes,
            other_bytes=notes.highest_bytes,
            checkpoint_bytes=checkpoint_bytes,
        )

    def _images(self, step: Step, count: int) -> TrainingImages:
        samples = [self.samples[index % len(self.samples)] for index in range(count)]
        config = self.config
        return TrainingImages(samples, step.input_hw, config.augment, config.seed, self.class_names, config.cache_mb)


def _smallest(wanted: Step) -> Step:
    """One picture at about a quarter of the sides."""
    height, width = (min(side, max(_SMALLEST, side // 4 // 32 * 32)) for side in wanted.input_hw)
    return Step(1, (height, width), 1)


def _largest_within(first: Cost, wanted: Step, memory_bytes: float) -> Step:
    """The largest step up to the wanted one whose time and memory, grown in proportion, stay within the limits."""

    def within(step: Step) -> bool:
        seconds = STEPS * first.step_s * step.pixels / first.step.pixels
        growth = max(step.pixels_at_once / first.step.pixels_at_once - 1, 0.0)
        needed = (first.gpu_bytes or first.process_bytes) + growth * first.kept_bytes
        return seconds <= _SECONDS and needed <= memory_bytes

    return next(filter(within, _downwards(wanted, first.step)), first.step)


def _far_from(first: Step, wanted: Step) -> Step:
    """The smallest step that makes a good line with the first one, or the wanted one where none is so large."""
    far = [step for step in _downwards(wanted, first) if step.pixels >= _APART * first.pixels]
    return far[-1] if far else wanted


def _downwards(wanted: Step, smallest: Step) -> Iterator[Step]:
    """Fewer and fewer pictures, then one that becomes smaller and smaller."""
    for images in range(wanted.images, 0, -1):
        yield Step(images, wanted.input_hw, min(images, wanted.at_once))
    longer = max(wanted.input_hw)
    for side in range(longer - 32, 0, -32):
        height, width = (
            max(least, whole * side // longer // 32 * 32)
            for whole, least in zip(wanted.input_hw, smallest.input_hw, strict=True)
        )
        yield Step(1, (height, width), 1)


@dataclass
class _Notes:
    """When the steps ended, the memory's peak in one's forward and backward passes, and the highest of all."""

    ends: list[float] = field(default_factory=list)
    passes: Peak = Peak()
    highest_bytes: int = 0

    def take(self) -> Peak:
        """The peak since the last time."""
        found = peak()
        self.highest_bytes = max(self.highest_bytes, found.process_bytes)
        reset_peak()
        return found


def _noted(hook: StepHook) -> _Notes:
    """Notes on the steps of a hook, from now on; what it does itself is no part of the passes."""
    notes, before_step, after_step = _Notes(), hook.before_step, hook.after_step

    def before(step: int) -> None:
        found = notes.take()
        if step == 1:
            notes.passes = found
        before_step(step)

    def after(step: int, learning_rate: float) -> None:
        after_step(step, learning_rate)
        notes.take()
        if step == 0:
            forget_peak()  # or what the hook and the first step freed would hide what the second one takes
        notes.ends.append(time.monotonic())

    hook.before_step, hook.after_step = before, after  # type: ignore[method-assign]
    return notes


@contextmanager
def quiet() -> Iterator[None]:
    """No lines about the epochs of a probe, or about numbers that nobody trained."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
