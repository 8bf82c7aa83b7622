"""The training loop: warm-up and cosine, averaged weights, mAP on the way, a checkpoint after every epoch.

A training that was killed goes on from its last checkpoint and ends with the same weights as an undisturbed one.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Generic

import torch

from board_app.core.atomic_file import write_text
from board_app.core.errors import RoadslimError
from compress.config import TrainingConfig
from compress.training import early_stop, processes
from compress.training.average import AveragedNetwork, Network
from compress.training.batch import Batch, Metrics, StepHook
from compress.training.checkpoint import State, load_state, save_state
from compress.training.cutting import micro_batches, warn_of_shared_statistics
from compress.training.evaluation import evaluate
from compress.training.loader import TrainingImages, epoch_order, load_batches
from compress.training.memory import memory_for
from compress.training.optimiser_step import NotFinite, OptimiserStep
from compress.training.schedule import rate_factor, size_at
from compress.training.training_progress import TrainingProgress

log = logging.getLogger(__name__)
_NAMED_FILES = 8  # of a batch that went wrong


@dataclass
class EpochSoFar:
    """How far an epoch is: optimiser steps done, the sums of their terms, the seconds they took."""

    steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Training(Generic[Network]):
    """One training of one network, in this process and all others that were started with it.

    Attributes:
        network: is changed in place; its averaged weights are the result.
        images: training pictures.
        held_out: pictures for the mAP figure.
        class_names: in the order of the network's class scores.
        config: epochs, batch size, learning rate and so on.
        folder: where checkpoint.pt and metrics.jsonl live; only the main process writes there.
        hook: what the stage adds.
        workers: threads that load pictures.
        on_epoch: is called with the stage's name and every epoch's metrics when they are saved; what it raises ends
            the training, which can go on later.
    """

    network: Network
    images: TrainingImages
    held_out: TrainingImages
    class_names: Sequence[str]
    config: TrainingConfig
    folder: Path
    hook: StepHook = field(default_factory=StepHook)
    workers: int = 1
    on_epoch: Callable[[str, Metrics], None] | None = None

    def __post_init__(self) -> None:
        self._device = processes.device()
        self.network.to(self._device)
        self.network.to(memory_format=torch.channels_last)  # twice as fast as the default on a CPU
        processes.share_of_main(self.network)
        if processes.is_main():
            warn_of_shared_statistics(self.config, processes.count())
        self._average: AveragedNetwork[Network] = AveragedNetwork(self.network, self.config.ema_steps)
        self._optimiser = OptimiserStep(self.network, self.config, self.hook, self._device)
        self._steps_per_epoch = max(1, len(self.images) // self.config.batch_size)
        self._history: list[Metrics] = []
        self._best: State | None = None  # weights, where the training may stop early
        self._so_far = EpochSoFar()

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self._steps_per_epoch * self.config.epochs

    @property
    def result_metrics(self) -> Metrics:
        """The line of the epoch whose averaged weights are the result."""
        return early_stop.best(self._history) if self.config.patience else self._history[-1]

    def run(self) -> tuple[Network, list[Metrics]]:
        """Train to the end, from a checkpoint where there is one; the averaged network, on the CPU, and all metrics."""
        self.hook.begin(self.steps)
        self._resume()
        stage = self.folder.name.split(".")[0]
        with TrainingProgress(stage, self.config.epochs, self.steps) as progress:
            while not early_stop.is_over(self._history, self.config):
                self._train_epoch(progress)
                self._history.append(self._line())
                self._so_far = EpochSoFar()
                self._save()
                progress.epoch(self._history[-1], self.hook.status())
                if self.on_epoch:
                    self.on_epoch(stage, self._history[-1])
        if self._best is not None:
            self._average.network.load_state_dict(self._best)
        return self._average.network.cpu(), self._history

    def _train_epoch(self, progress: TrainingProgress) -> None:
        epoch, so_far = len(self._history), self._so_far
        began, saved = time.monotonic() - so_far.seconds, time.monotonic()
        map50 = next((line["map50"] for line in reversed(self._history) if "map50" in line), None)
        self.network.train()
        for indices, batches in self._optimiser_batches(epoch, so_far.steps):
            self._step(epoch, indices, batches)
            now = time.monotonic()
            so_far.seconds = now - began
            if self.config.checkpoint_minutes and now - saved > 60 * self.config.checkpoint_minutes:
                self._save()
                saved = now
            progress.step(
                epoch * self._steps_per_epoch + so_far.steps,
                so_far.sums["loss"] / so_far.steps,
                so_far.steps * len(indices) / so_far.seconds,
                map50,
            )

    def _optimiser_batches(self, epoch: int, done: int) -> Iterator[tuple[list[int], list[Batch]]]:
        """The rest of an epoch: the pictures of every optimiser step, and this process's micro-batches of them."""
        order = epoch_order(self.images, epoch, self.config.batch_size)[done:]
        cuts = [micro_batches(batch, self.config, processes.rank(), processes.count()) for batch in order]
        first = epoch * self._steps_per_epoch + done
        sizes = [
            size_at(first + position, self.images.input_hw, self.config.multi_scale, self.images.seed)
            for position, cut in enumerate(cuts)
            for _ in cut
        ]
        ahead = max(map(len, cuts), default=0) + 1  # the next step's are made while this one's are in work
        loaded = load_batches(self.images, epoch, sum(cuts, []), self.workers, sizes, ahead)
        for batch, cut in zip(order, cuts, strict=True):
            yield batch, [next(loaded) for _ in cut]

    def _step(self, epoch: int, indices: list[int], batches: list[Batch]) -> None:
        step = epoch * self._steps_per_epoch + self._so_far.steps
        with memory_for(max(map(len, batches)), batches[0].size_hw, self._device):
            try:
                values = self._optimiser.take(batches, len(indices), step, self._rate(step))
            except NotFinite as error:
                raise self._not_finite(str(error), indices) from error
            self._average.update(step)
        self._so_far.steps += 1
        for name, value in values.items():
            self._so_far.sums[name] = self._so_far.sums.get(name, 0.0) + value

    def _rate(self, step: int) -> float:
        return self.config.learning_rate * rate_factor(step, self.steps, self.config.warmup_share)

    def _line(self) -> Metrics:
        """The epoch's line in metrics.jsonl, with mAP where it is due."""
        epoch, so_far, began = len(self._history), self._so_far, time.monotonic()
        images = so_far.steps * min(self.config.batch_size, len(self.images))
        metrics: Metrics = {"epoch": epoch + 1}
        metrics |= {name: total / so_far.steps for name, total in so_far.sums.items()} | self.hook.metrics()
        metrics["learning_rate"] = self._rate(epoch * self._steps_per_epoch + so_far.steps - 1)
        if epoch + 1 == self.config.epochs or (epoch + 1) % self.config.evaluate_every == 0:
            metrics |= self._evaluate()
            if self.config.patience:
                metrics["best_epoch"] = early_stop.best([*self._history, metrics])["epoch"]
                if metrics["best_epoch"] == epoch + 1:
                    self._best = {name: value.clone() for name, value in self._average.network.state_dict().items()}
        seconds = so_far.seconds + time.monotonic() - began
        return metrics | {"images_per_s": round(images / so_far.seconds, 2), "seconds": round(seconds, 2)}

    def _evaluate(self) -> Metrics:
        averaged = self._average.network
        self.hook.settle(averaged)
        self._average.settle(self.images, self._device)
        accuracy = evaluate(averaged, self.network.heads, self.held_out, self.class_names, self._device, together=True)
        return {"map50": accuracy.map50, "map50_95": accuracy.map50_95}

    def _not_finite(self, found: str, indices: Sequence[int]) -> RoadslimError:
        epoch = len(self._history)
        files = [str(self.images.samples[index].image_path) for index in indices]
        named = ", ".join(files[:_NAMED_FILES]) + (" and others" if len(files) > _NAMED_FILES else "")
        kept = f"The checkpoint of epoch {epoch} is kept. " if epoch else ""
        return RoadslimError(
            f"training: expected a finite {found} in epoch {epoch + 1}, step {self._so_far.steps + 1}, "
            f"with the pictures {named}. {kept}Look at their labels with `roadslim data check`, "
            f"or lower learning_rate (now {self.config.learning_rate}), with which this stage starts afresh"
        )

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _save(self) -> None:
        """Write what `_resume` reads, and the metrics."""
        if not processes.is_main():
            return
        state = {
            "network": self.network.state_dict(),
            "averaged": self._average.network.state_dict(),
            "best": self._best,
            "optimiser": self._optimiser.state(),
            "hook": self.hook.state(),
            "history": json.dumps(self._history),
            "so_far": asdict(self._so_far),
            "random": torch.get_rng_state(),
        }
        save_state(self._checkpoint, state)
        self._write_metrics()

    def _write_metrics(self) -> None:
        write_text(self.folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in self._history))

    def _resume(self) -> None:
        """Take up what the last checkpoint holds, the same in every process."""
        state = load_state(self._checkpoint, self.network)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self._average.network.load_state_dict(state["averaged"])
        self._best = state["best"]
        self._optimiser.load_state(state["optimiser"])
        self.hook.load_state(state["hook"])
        self._history = json.loads(state["history"])
        self._so_far = EpochSoFar(**state["so_far"])
        torch.set_rng_state(state["random"])
        if processes.is_main():
            self._write_metrics()
            log.info("going on after epoch %d of %d", len(self._history), self.config.epochs)
