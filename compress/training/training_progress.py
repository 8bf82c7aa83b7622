"""What a training shows while it runs: a bar on a terminal, and a line for every epoch."""

from __future__ import annotations

import logging
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from compress.training import processes
from compress.training.batch import Metrics

log = logging.getLogger(__name__)


class TrainingProgress:
    """A bar with loss, speed and mAP50; only the main process shows anything.

    Args:
        stage: its name.
        epochs: of the whole training.
        steps: optimiser steps of the whole training.
    """

    def __init__(self, stage: str, epochs: int, steps: int) -> None:
        console = Console(stderr=True)
        self._stage, self._epochs = stage, epochs
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal or not processes.is_main(),
        )
        self._task = self._bar.add_task(stage, total=steps, figures="")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, done: int, loss: float, images_per_s: float, map50: float | None) -> None:
        """So many steps are done, and this is how it goes."""
        parts = [f"loss {loss:.2f}", f"{images_per_s:.1f} images/s"]
        if map50 is not None:
            parts.append(f"mAP50 {100 * map50:.1f} %")
        self._bar.update(self._task, completed=done, figures=", ".join(parts))

    def epoch(self, metrics: Metrics, status: str) -> None:
        """An epoch ended."""
        parts = [f"{self._stage} epoch {metrics['epoch']}/{self._epochs}", f"loss {metrics['loss']:.3f}"]
        if "map50" in metrics:
            parts.append(f"mAP50 {100 * metrics['map50']:.1f} %")
        parts += [status] if status else []
        if processes.is_main():
            log.info(
                "%s", ", ".join([*parts, f"{metrics['images_per_s']:.1f} images/s", f"{metrics['seconds']:.1f} s"])
            )
