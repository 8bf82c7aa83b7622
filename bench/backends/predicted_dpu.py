"""A board's DPU, predicted from the layers: no session, one figure."""

from __future__ import annotations

from typing import Any

from bench.backends.base import Session
from bench.models import Model, OnnxModel
from bench.results import Origin
from dpu.latency import Prediction, predict


class PredictedDpu:
    """The latency model of the package `dpu`."""

    name = "dpu"
    origin: Origin = "predicted"
    scope = "network only, batch 1, one DPU core: predicted from the layers by dpu.latency, nothing was run"

    def __init__(self, board: str = "zcu104") -> None:
        self.board = board

    def missing(self) -> str | None:
        """None: it only computes."""
        return None

    def takes(self, model: Model) -> bool:
        """Every model whose layers are known."""
        return not isinstance(model, OnnxModel)

    def identity(self) -> dict[str, Any]:
        """The board that is predicted."""
        return {"board": self.board}

    def predict(self, model: Model) -> Prediction:
        """The model's predicted time."""
        return predict(model.layers, self.board)

    def open(self, model: Model, threads: int) -> Session:
        """There is nothing to open: use `predict`."""
        raise NotImplementedError("a predicted backend runs nothing")
