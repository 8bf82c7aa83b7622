"""The training loop: AdamW, warm-up and cosine, averaged weights, a checkpoint after every epoch.

A training that was killed goes on from its last whole epoch and ends with the same weights as an undisturbed one.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import math
import pickle  # noqa: S403  for its error alone
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from board_app.core.atomic_file import write_bytes, write_text
from board_app.core.errors import InputError, RoadslimError
from compress.config import TrainingConfig
from compress.darknet.network import DarknetNetwork
from compress.pruning.recalibration import recalibrate, training_batches
from compress.quantization.grid_network import GridNetwork
from compress.training.batch import Metrics, StepHook
from compress.training.evaluation import evaluate
from compress.training.loader import TrainingImages, epoch_order, load_batches
from compress.training.loss import yolo_loss
from compress.training.targets import assign

log = logging.getLogger(__name__)
Network = TypeVar("Network", DarknetNetwork, GridNetwork)
_STATISTICS_IMAGES = 128


@dataclass
class Training(Generic[Network]):
    """One training of one network.

    Attributes:
        network: is changed in place; its averaged weights are the result.
        images: training pictures.
        held_out: pictures for the mAP figure.
        class_names: in the order of the network's class scores.
        config: epochs, batch size, learning rate and so on.
        folder: where checkpoint.pt and metrics.jsonl live.
        hook: what the stage adds.
        workers: processes that load pictures; 0 loads in this one.
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
    workers: int = 0
    on_epoch: Callable[[str, Metrics], None] | None = None

    def __post_init__(self) -> None:
        self.network.to(memory_format=torch.channels_last)  # twice as fast as the default on a CPU
        self._steps_per_epoch = max(1, len(self.images) // self.config.batch_size)
        self._optimiser = torch.optim.AdamW(_parameter_groups(self.network, self.config), lr=self.config.learning_rate)
        self._averaged: Network = copy.deepcopy(self.network)
        self._averaged.eval()
        self._history: list[Metrics] = []

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self._steps_per_epoch * self.config.epochs

    def run(self) -> tuple[Network, list[Metrics]]:
        """Train to the end, from the checkpoint where there is one; gives the averaged network and all metrics."""
        self.hook.begin(self.steps)
        self._resume()
        stage = self.folder.name.split(".")[0]
        with _progress() as progress:
            task = progress.add_task(stage, total=self.steps, loss="")
            for epoch in range(len(self._history), self.config.epochs):
                progress.update(task, completed=epoch * self._steps_per_epoch)
                self._history.append(
                    self._epoch(epoch, lambda loss: progress.update(task, advance=1, loss=f"{loss:.2f}"))
                )
                self._save()
                log.info("%s", _line(stage, self._history[-1], self.config.epochs))
                if self.on_epoch:
                    self.on_epoch(stage, self._history[-1])
        return self._averaged, self._history

    def _epoch(self, epoch: int, on_step: Callable[[float], None]) -> Metrics:
        started = time.monotonic()
        self.network.train()
        sums = torch.zeros(4)
        extra_sums: dict[str, Tensor] = {}
        order = epoch_order(self.images, epoch, self.config.batch_size)
        for position, loaded in enumerate(load_batches(self.images, epoch, order, self.workers)):
            step = epoch * self._steps_per_epoch + position
            rate = self._set_learning_rate(step)
            batch = loaded.on(torch.device("cpu"))
            raw_heads = self.network(batch.images)
            targets = assign(batch.truths, len(batch), self.network.heads, self.images.input_hw)
            terms = yolo_loss(raw_heads, self.network.heads, targets)
            extra: dict[str, Tensor] = self.hook.extra_loss(batch, raw_heads)
            loss = torch.stack([terms.total, *extra.values()]).sum()
            for name, value in extra.items():
                extra_sums[name] = extra_sums.get(name, torch.zeros(())) + value.detach()
            self._check(loss, epoch, position)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
            self.hook.before_step(step)
            self._optimiser.step()
            self.hook.after_step(step, rate)
            self._average(step)
            sums += torch.stack([loss, terms.box, terms.objectness, terms.classes]).detach()
            on_step(loss.item())
        loss_mean, box, objectness, classes = (sums / self._steps_per_epoch).tolist()
        metrics = {"epoch": epoch + 1, "loss": loss_mean, "box": box, "objectness": objectness, "classes": classes}
        metrics |= {name: float(value) / self._steps_per_epoch for name, value in extra_sums.items()}
        metrics |= self.hook.metrics()
        last = epoch + 1 == self.config.epochs
        if last or (epoch + 1) % self.config.evaluate_every == 0:
            self.hook.settle(self._averaged)
            recalibrate(self._averaged, training_batches(self.images, _STATISTICS_IMAGES))  # no step made its own
            accuracy = evaluate(self._averaged, self.network.heads, self.held_out, self.class_names)
            metrics |= {"map50": accuracy.map50, "map50_95": accuracy.map50_95}
        return metrics | {"seconds": round(time.monotonic() - started, 2)}

    def _set_learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to 2 % of the peak; gives the rate of this step."""
        warmup = max(1, round(self.config.warmup_share * self.steps))
        if step < warmup:
            factor = (step + 1) / warmup
        else:
            done = (step - warmup) / max(1, self.steps - warmup)
            factor = 0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2
        for group in self._optimiser.param_groups:
            group["lr"] = self.config.learning_rate * factor
        return self.config.learning_rate * factor

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Exponential moving average of the parameters that looks back less far at the start."""
        keep = min(1 - 1 / self.config.ema_steps, (step + 1) / (step + 10))
        for mean, value in zip(self._averaged.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)

    def _check(self, loss: Tensor, epoch: int, position: int) -> None:
        if not bool(torch.isfinite(loss)):
            raise RoadslimError(
                f"training: expected a finite loss, found {loss.item()} in epoch {epoch + 1}, batch {position + 1}. "
                f"Lower learning_rate (now {self.config.learning_rate}); this stage then starts afresh"
            )

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "averaged": self._averaged.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "hook": self.hook.state(),
            "history": json.dumps(self._history),
        }
        content = io.BytesIO()  # torch writes to files in a way that hides a full disk
        torch.save(state, content)
        write_bytes(self._checkpoint, content.getvalue())
        self._write_metrics()

    def _write_metrics(self) -> None:
        write_text(self.folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in self._history))

    def _resume(self) -> None:
        if not self._checkpoint.exists():
            return
        try:
            state = torch.load(self._checkpoint, weights_only=True)
            self.network.load_state_dict(state["network"])
            self._averaged.load_state_dict(state["averaged"])
            self._optimiser.load_state_dict(state["optimiser"])
            self.hook.load_state(state["hook"])
            self._history = json.loads(state["history"])
        except (RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(
                f"expected a training checkpoint at {self._checkpoint}, found one that is damaged "
                f"or of another network ({type(error).__name__}). "
                f"Remove the folder {self.folder} to start this stage afresh"
            ) from error
        self._write_metrics()
        log.info("going on after epoch %d of %d", len(self._history), self.config.epochs)


def _parameter_groups(network: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """Weight decay on convolution weights alone: gammas, betas and biases are free of it."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]


def _line(stage: str, metrics: Metrics, epochs: int) -> str:
    parts = [f"{stage} epoch {metrics['epoch']}/{epochs}", f"loss {metrics['loss']:.3f}"]
    if "map50" in metrics:
        parts.append(f"mAP50 {100 * metrics['map50']:.1f} %")
    if "zero_share" in metrics:
        parts.append(f"gammas at zero {100 * metrics['zero_share']:.1f} %")
    return ", ".join([*parts, f"{metrics['seconds']:.1f} s"])


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
    )
    console = Console(stderr=True)
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
