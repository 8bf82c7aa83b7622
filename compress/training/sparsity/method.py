"""What every way to sparsity has: it may add to gradients, and it may change scales after a step."""

from __future__ import annotations

from typing import Any


class SparsityMethod:
    """One way to drive scales to zero; this one drives none."""

    def begin(self, steps: int) -> None:
        """Called once with the optimiser steps of the whole training."""

    def before_step(self, step: int) -> None:
        """Called between the backward pass and the optimiser's step."""

    def after_step(self, step: int) -> None:
        """Called after the optimiser's step."""

    @property
    def aim(self) -> float | None:
        """Share of the prunable gammas that should be zero by now; None: this way never makes exact zeros."""
        return None

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
