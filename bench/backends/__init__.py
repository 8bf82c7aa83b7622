"""What can run a detector's network: name -> backend, in the order of the table."""

from __future__ import annotations

from bench.backends.base import Backend, Session
from bench.backends.onnx_cpu import OnnxCpu
from bench.backends.predicted_dpu import PredictedDpu
from bench.backends.software_dpu import SoftwareDpu
from bench.backends.torch_float import TorchCpu, TorchCuda

__all__ = ["BACKENDS", "Backend", "PredictedDpu", "Session", "default_backend"]

BACKENDS: dict[str, Backend] = {
    backend.name: backend for backend in (TorchCpu(), OnnxCpu(), TorchCuda(), SoftwareDpu(), PredictedDpu())
}


def default_backend(precision: str, onnx: bool) -> Backend:
    """Where accuracy is measured when nothing else is said: where the file runs as it is."""
    if precision == "int8":
        return BACKENDS["software_dpu"]
    return BACKENDS["onnxruntime_cpu" if onnx else "torch_cpu"]
