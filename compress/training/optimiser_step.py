"""One optimiser step: the gradients of its micro-batches, added up over all processes, then AdamW.

Source: Loshchilov & Hutter, Decoupled weight decay, arXiv:1711.05101 (AdamW).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compress.config import TrainingConfig
from compress.darknet.network import DarknetNetwork
from compress.quantization.grid_network import GridNetwork
from compress.training import processes
from compress.training.batch import Batch, StepHook
from compress.training.ghost_norm import normalise_in_groups
from compress.training.loss import yolo_loss
from compress.training.precision import check_precision, products_in
from compress.training.targets import Targets, assign

LABEL_TERMS = ("box", "objectness", "classes")
_LARGEST_GRADIENT = 10.0  # norm; longer ones are shortened to it


class NotFinite(Exception):
    """A step whose loss or gradient is no number (its text says which); it was not taken."""


class OptimiserStep:
    """What happens to a network at every step; the same in every process.

    Args:
        network: is changed in place.
        config: learning rate, weight decay, precision, statistics.
        hook: what the stage adds.
        device: what this process computes on.
    Raises:
        UsageError: the device cannot compute in this precision.
    """

    def __init__(
        self, network: DarknetNetwork | GridNetwork, config: TrainingConfig, hook: StepHook, device: torch.device
    ) -> None:
        check_precision(config.precision, device)
        self._network, self._hook, self._device = network, hook, device
        if config.statistics_batch:
            normalise_in_groups(network, config.statistics_batch)
        self._parameters = list(network.parameters())
        self._optimiser = torch.optim.AdamW(_groups(network, config.weight_decay), lr=config.learning_rate, fused=True)
        self._precision = config.precision
        self._scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")

    def take(self, batches: Sequence[Batch], images: int, step: int, rate: float) -> dict[str, float]:
        """Move the network by one step.

        Args:
            batches: the micro-batches of this process, images in uint8.
            images: pictures of the optimiser's whole batch, of all processes.
            step: 0-based over the whole training.
            rate: the learning rate.
        Returns:
            `loss`, its label terms and the hook's, of the whole batch.
        Raises:
            NotFinite: in every process, before any parameter is changed.
        """
        targets = [assign(batch.truths, len(batch), self._network.heads, batch.size_hw) for batch in batches]
        positives = torch.tensor(float(sum(map(len, targets)))).to(self._device)
        processes.add_up([positives])
        self._optimiser.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for batch, target in zip(batches, targets, strict=True):
            terms = self._backward(batch.on(self._device), target.on(self._device), positives, len(batch) / images)
            for name, value in terms.items():
                sums[name] = sums[name] + value if name in sums else value
        self._add_up(sums)
        self._scaler.unscale_(self._optimiser)
        norm = nn.utils.clip_grad_norm_(self._parameters, _LARGEST_GRADIENT, foreach=True)
        values = self._checked(sums, norm)
        self._move(step, rate)
        return values

    def _backward(self, batch: Batch, targets: Targets, positives: Tensor, share: float) -> dict[str, Tensor]:
        """Add a micro-batch's gradients; its share of every term."""
        with products_in(self._precision, self._device):
            raw_heads = self._network(batch.images)
        labels = yolo_loss(raw_heads, self._network.heads, targets, positives)
        terms = {name: getattr(labels, name) for name in LABEL_TERMS}
        terms |= {name: share * value for name, value in self._hook.extra_loss(batch, raw_heads).items()}
        loss = torch.stack([labels.total, *(terms[name] for name in terms if name not in LABEL_TERMS)]).sum()
        self._scaler.scale(loss).backward()
        return {name: value.detach() for name, value in ({"loss": loss} | terms).items()}

    def _add_up(self, sums: dict[str, Tensor]) -> None:
        """Add up gradients and terms over all processes."""
        if processes.count() == 1:
            return
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        processes.add_up([*gradients, *sums.values()])

    def _checked(self, sums: dict[str, Tensor], norm: Tensor) -> dict[str, float]:
        """The terms as numbers, if they and the gradient's norm are some."""
        *values, length = torch.stack([*sums.values(), norm]).tolist()
        terms = dict(zip(sums, values, strict=True))
        if not math.isfinite(terms["loss"]):
            raise NotFinite(f"loss, found {terms['loss']}")
        if not math.isfinite(length) and not self._scaler.is_enabled():  # the scaler leaves out such a step by itself
            raise NotFinite(f"gradient, found one of length {length}")
        return terms

    def _move(self, step: int, rate: float) -> None:
        self._hook.before_step(step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._hook.after_step(step, rate)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep beside the network."""
        return {"optimiser": self._optimiser.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on convolution weights alone: gammas, betas and biases are free of it."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
