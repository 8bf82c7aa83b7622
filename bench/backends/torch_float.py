"""The float network in torch, on the CPU or a CUDA device, batch normalisation folded as every deployment does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bench.backends.base import as_heads, as_input, fixed_picture
from bench.environment import cpu_model, library_version, usable_cores
from bench.models import Model, NetworkModel
from bench.results import Origin
from compress.darknet.fold import folded

_SCOPE = "network only, batch 1: float input tensor on the device to raw heads; no letterbox, decoding or NMS"


class TorchSession:
    """A folded network on a device."""

    def __init__(self, model: NetworkModel, device: str, threads: int) -> None:
        self._device = torch.device(device)
        self._threads = threads
        self._network = folded(model.network).to(self._device)
        self._input = self._tensor(fixed_picture(model.spec.input_hw))
        self.settings: dict[str, Any] = {"batch_norm": "folded"}
        if device == "cpu":
            self.settings["threads"] = threads

    def _tensor(self, picture_rgb: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(as_input(picture_rgb)).to(self._device)

    def _heads(self, batch: torch.Tensor) -> list[torch.Tensor]:
        if self._device.type == "cpu" and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            heads = self._network(batch)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return list(heads)

    def run(self) -> None:
        """Once through the network."""
        self._heads(self._input)

    def forward(self, picture_rgb: np.ndarray) -> list[np.ndarray]:
        """The raw heads, float32."""
        return as_heads([head.cpu().numpy() for head in self._heads(self._tensor(picture_rgb))])


class TorchCpu:
    """torch on the CPU."""

    name = "torch_cpu"
    origin: Origin = "measured"
    scope = _SCOPE

    def missing(self) -> str | None:
        """None: torch is always there."""
        return None

    def takes(self, model: Model) -> bool:
        """Darknet networks."""
        return isinstance(model, NetworkModel)

    def identity(self) -> dict[str, Any]:
        """torch's version and the processor."""
        return {"torch": library_version("torch"), "cpu": cpu_model(), "cores": usable_cores()}

    def open(self, model: Model, threads: int) -> TorchSession:
        """Fold and load."""
        assert isinstance(model, NetworkModel)
        return TorchSession(model, "cpu", threads)


class TorchCuda(TorchCpu):
    """torch on the first CUDA device; the clock stops when the device has finished."""

    name = "torch_cuda"

    def missing(self) -> str | None:
        """Says so where there is no CUDA device."""
        return None if torch.cuda.is_available() else "there is no CUDA device here"

    def identity(self) -> dict[str, Any]:
        """torch's version and the device."""
        device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
        return {"torch": library_version("torch"), "gpu": device}

    def open(self, model: Model, threads: int) -> TorchSession:
        """Fold and move to the device."""
        assert isinstance(model, NetworkModel)
        return TorchSession(model, "cuda", threads)
