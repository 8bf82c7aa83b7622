"""The float network in ONNX Runtime on the CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from bench.backends.base import as_heads, as_input, fixed_picture
from bench.environment import cpu_model, library_version, usable_cores
from bench.models import Model, NetworkModel, OnnxModel
from bench.results import Origin


class OnnxSession:
    """A network in an inference session."""

    def __init__(self, path: Path, input_hw: tuple[int, int], threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # waiting threads must not take the core of the backend that is measured next
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._name = self._session.get_inputs()[0].name
        self._input = as_input(fixed_picture(input_hw))
        self.settings: dict[str, Any] = {"batch_norm": "folded", "threads": threads, "spinning": False}

    def run(self) -> None:
        """Once through the network."""
        self._session.run(None, {self._name: self._input})

    def forward(self, picture_rgb: np.ndarray) -> list[np.ndarray]:
        """The raw heads, float32."""
        return as_heads(self._session.run(None, {self._name: as_input(picture_rgb)}))


class OnnxCpu:
    """ONNX Runtime on the CPU; Darknet networks are exported on the way."""

    name = "onnxruntime_cpu"
    origin: Origin = "measured"
    scope = "network only, batch 1: float input array to raw heads; no letterbox, decoding or NMS"

    def missing(self) -> str | None:
        """None: ONNX Runtime is always there."""
        return None

    def takes(self, model: Model) -> bool:
        """ONNX files and Darknet networks."""
        return isinstance(model, NetworkModel | OnnxModel)

    def identity(self) -> dict[str, Any]:
        """ONNX Runtime's version and the processor."""
        return {"onnxruntime": library_version("onnxruntime"), "cpu": cpu_model(), "cores": usable_cores()}

    def open(self, model: Model, threads: int) -> OnnxSession:
        """Export where needed, load and optimise."""
        if isinstance(model, OnnxModel):
            return OnnxSession(model.path, model.spec.input_hw, threads)
        assert isinstance(model, NetworkModel)
        from compress.darknet.onnx_export import export_onnx

        with tempfile.TemporaryDirectory(prefix="roadslim-") as folder:
            path = Path(folder) / "model.onnx"
            export_onnx(model.network, path)
            return OnnxSession(path, model.spec.input_hw, threads)
