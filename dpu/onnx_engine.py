"""The fast engine: a whole program as ONE ONNX Runtime graph, with results proven equal to whole-number arithmetic.

Scales are powers of two and sit in the weights, so a convolution needs only a clip and a floor after it
(`dpu.exactness` proves when that is exact and gives another way when it is not). Inputs and outputs are int8.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import onnxruntime

from dpu.onnx_builder import model_of
from dpu.program import Program


class OnnxEngine:
    """Runs a program in one ONNX Runtime session for each set of wanted tensors. Threads may share it."""

    name = "onnxruntime"

    def __init__(self, program: Program, threads: int = 1) -> None:
        self._program = program
        self._threads = threads
        self._sessions: dict[tuple[str, ...], onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """The named int8 tensors (values of the program or its outputs) for int8 inputs by name."""
        session = self._session(names)
        values = self._program.values()
        feeds = {f"in:{value.name}": inputs[value.name] for value in self._program.inputs}
        known = {f"out:{values[name].name}" for name in names}
        wanted = sorted(known)
        held = dict(zip(wanted, session.run(wanted, feeds)))  # noqa: B905 (runs on Python 3.9 too)
        return {name: held[f"out:{values[name].name}"] for name in names}

    def prepare(self, names: tuple[str, ...]) -> None:
        """Make the session that `run` with these names uses."""
        self._session(names)

    def _session(self, names: tuple[str, ...]) -> onnxruntime.InferenceSession:
        with self._lock:
            if names not in self._sessions:
                values = self._program.values()
                model, large = model_of(self._program, [values[name] for name in names])
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = self._threads
                options.inter_op_num_threads = 1
                options.log_severity_level = 3
                as_values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in large.values()]
                options.add_external_initializers(list(large), as_values)
                self._sessions[names] = onnxruntime.InferenceSession(
                    model.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
            return self._sessions[names]
