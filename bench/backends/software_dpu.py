"""The int8 network on the software DPU: its outputs are the DPU's, its time is not."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.backends.base import fixed_picture
from bench.environment import cpu_model, library_version, usable_cores
from bench.models import Model, XmodelModel
from bench.results import Origin
from board_app.core.int8_input import quantise_pixels
from dpu.executor import Executor


class SoftwareDpuSession:
    """A lowered graph in an executor."""

    def __init__(self, model: XmodelModel, threads: int) -> None:
        self._executor = Executor(model.graph, threads=threads)
        self._spec = model.spec
        self._input = self._tensor(fixed_picture(model.spec.input_hw))
        self.settings: dict[str, Any] = {"engine": self._executor.engine, "threads": threads}

    def _tensor(self, picture_rgb: np.ndarray) -> dict[str, np.ndarray]:
        pixels = quantise_pixels(picture_rgb, self._spec.input_fix_point, self._spec.pixel_scale)
        return {self._executor.inputs[0].name: pixels[None]}

    def run(self) -> None:
        """Once through the network."""
        self._executor.run(self._input)

    def forward(self, picture_rgb: np.ndarray) -> list[np.ndarray]:
        """The raw heads, int8."""
        outputs = self._executor.run(self._tensor(picture_rgb))
        return [outputs[head.output][0] for head in self._spec.heads]


class SoftwareDpu:
    """The executor of the package `dpu`."""

    name = "software_dpu"
    origin: Origin = "simulated"
    scope = "network only, batch 1: int8 input to int8 heads on this machine's CPU; not the DPU's time"

    def missing(self) -> str | None:
        """None: it runs everywhere."""
        return None

    def takes(self, model: Model) -> bool:
        """Bundles and .xmodel files."""
        return isinstance(model, XmodelModel)

    def identity(self) -> dict[str, Any]:
        """ONNX Runtime's version, which runs the integers, and the processor."""
        return {"onnxruntime": library_version("onnxruntime"), "cpu": cpu_model(), "cores": usable_cores()}

    def open(self, model: Model, threads: int) -> SoftwareDpuSession:
        """Lower the graph and load it."""
        assert isinstance(model, XmodelModel)
        return SoftwareDpuSession(model, threads)
