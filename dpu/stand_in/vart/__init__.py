"""A stand-in for AMD's `vart` Python module: runners on the software DPU, with the real one's API and manners.

As on a ZCU104 there are two DPU cores; runners are bound to them in turn, and `execute_async` is synchronous: it copies
in, runs under the core's lock, copies out. Use several threads with a runner each to keep both cores busy. What aborts
the real process raises here, and says so.

The environment variable ROADSLIM_DPU_PACE sets the pace: `off` (default: as fast as this machine goes) or `predicted`
(each run holds its core for the predicted DPU time, so that queues and frame drops are a board's; a machine slower than
that is not hurried). As with the real runtime, XLNX_ENABLE_FINGERPRINT_CHECK=0 lets a model for another DPU through.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import xir  # before `dpu`: the stand-in xir makes that package importable

from dpu.architecture import BOARDS
from dpu.errors import RunError, UnsupportedModelError
from dpu.graph_layers import layers_of_integer_graph
from dpu.latency import predict

__all__ = ["ORIGIN", "Runner", "RunnerExt", "TensorBuffer"]

ORIGIN = "simulated"  # not in the real API: what every time taken on these runners is

_BOARD = BOARDS["zcu104"]
_FINGERPRINT = _BOARD.fingerprints["3.0"]
_CORES = tuple(threading.Lock() for _ in range(_BOARD.cores))
_BINDING = threading.Lock()
_made = 0


def _next_core() -> int:
    global _made
    with _BINDING:
        core = _made % len(_CORES)
        _made += 1
        return core


def _aborts(why: str, remedy: str) -> RunError:
    return RunError(f"{why} (the real vart aborts the process here). {remedy}")


def _check_fingerprint(subgraph: xir.Subgraph) -> None:
    model = subgraph.get_attr("dpu_fingerprint") if subgraph.has_attr("dpu_fingerprint") else 0
    if model in (0, _FINGERPRINT) or os.environ.get("XLNX_ENABLE_FINGERPRINT_CHECK", "1") == "0":
        return
    raise UnsupportedModelError(
        f"CHECK fingerprint fail! model_fingerprint 0x{model:x} is un-matched with actual dpu_fingerprint "
        f"0x{_FINGERPRINT:x}. Please re-compile xmodel with dpu_fingerprint 0x{_FINGERPRINT:x} and try again.\n"
        "fingerprint check failure. (The real vart aborts the process here.)"
    )


def _held_s(subgraph: xir.Subgraph) -> float:
    """Seconds for which a run holds its core, by ROADSLIM_DPU_PACE."""
    pace = os.environ.get("ROADSLIM_DPU_PACE", "off") or "off"
    if pace == "off":
        return 0.0
    if pace != "predicted":
        raise RunError(f"ROADSLIM_DPU_PACE: expected off or predicted, found {pace!r}. Set one of them.")
    graph, part = subgraph.as_written()
    layers = layers_of_integer_graph(graph, part.name)
    return predict(layers, _BOARD).dpu_ms / 1e3


class Runner:
    """Runs one DPU subgraph on one core. Make one for each thread."""

    def __init__(self, subgraph: xir.Subgraph) -> None:
        self._executor = subgraph.executor()
        self._executor.prepare()
        self._core = _next_core()
        self._held_s = _held_s(subgraph)
        tensors = {tensor.name: tensor for tensor in subgraph.get_graph().get_tensors()}
        self._inputs = [tensors[value.name] for value in self._executor.inputs]
        self._outputs = [tensors[value.name] for value in self._executor.outputs]

    @classmethod
    def create_runner(cls, subgraph: xir.Subgraph, mode: str = "") -> Any:
        """A runner for a DPU subgraph; `mode` is `run`, as in the subgraph's attribute `runner`."""
        runners = subgraph.get_attr("runner") if subgraph.has_attr("runner") else {}
        if mode not in (runners or {}):
            raise _aborts(
                f"subgraph {subgraph.get_name()!r} has no runner for mode {mode!r}, only {sorted(runners or {})}",
                'Take a DPU subgraph and mode "run".',
            )
        device = str(subgraph.get_attr("device")).upper() if subgraph.has_attr("device") else ""
        if device != "DPU":
            raise UnsupportedModelError(
                f"subgraph {subgraph.get_name()!r} is for device {device!r}; the stand-in runs DPU subgraphs only. "
                "Choose the subgraphs whose attribute device is DPU."
            )
        _check_fingerprint(subgraph)
        return cls(subgraph)

    def get_input_tensors(self) -> list[xir.Tensor]:
        """The inputs by name, int8, dims [1, H, W, C]."""
        return list(self._inputs)

    def get_output_tensors(self) -> list[xir.Tensor]:
        """The outputs by name, int8, dims [1, H, W, C]."""
        return list(self._outputs)

    def execute_async(
        self, inputs: Sequence[Any], outputs: Sequence[Any], enable_dynamic_array: bool = False
    ) -> tuple[int, int]:
        """Run once, whole, before returning; the result goes to `wait`.

        Buffers stand in the order of the tensors: C-contiguous, int8 or float32 (inputs: times 2^fix_point and
        TRUNCATED, as VART copies; outputs: integers times 2^-fix_point).
        """
        if len(inputs) != len(self._inputs) or len(outputs) != len(self._outputs):
            raise _aborts(
                f"expected {len(self._inputs)} input and {len(self._outputs)} output buffers, found {len(inputs)} and "
                f"{len(outputs)}",
                "Give one buffer for each tensor.",
            )
        targets = [_view(buffer, self._outputs[i], writable=True) for i, buffer in enumerate(outputs)]
        sources = {
            tensor.name: _to_int8(_view(inputs[i], tensor, writable=False), tensor)
            for i, tensor in enumerate(self._inputs)
        }
        with _CORES[self._core]:
            began = time.monotonic()
            results = self._executor.run(sources)
            rest = self._held_s - (time.monotonic() - began)
            if rest > 0:
                time.sleep(rest)
        for i, tensor in enumerate(self._outputs):
            integers = results[tensor.name].reshape(-1)
            if targets[i].dtype == np.float32:
                targets[i][:] = integers * np.float32(2.0 ** -tensor.get_attr("fix_point"))
            else:
                targets[i][:] = integers
        return 1, 0

    def wait(self, job: tuple[int, int]) -> int:
        """0: the run was done when `execute_async` returned. Takes the whole tuple, as the real one does."""
        if not isinstance(job, tuple) or len(job) != 2:
            raise TypeError(
                f"wait(): incompatible function arguments, expected the tuple of execute_async, found {job!r}"
            )
        return 0


class TensorBuffer(np.ndarray):
    """A runner's own buffer: an int8 array that knows its tensor."""

    _tensor: xir.Tensor

    def get_tensor(self) -> xir.Tensor:
        return self._tensor


class RunnerExt(Runner):
    """A runner with buffers of its own."""

    def __init__(self, subgraph: xir.Subgraph) -> None:
        super().__init__(subgraph)
        self._input_buffers = [_buffer(tensor) for tensor in self._inputs]
        self._output_buffers = [_buffer(tensor) for tensor in self._outputs]

    def get_inputs(self) -> list[TensorBuffer]:
        return list(self._input_buffers)

    def get_outputs(self) -> list[TensorBuffer]:
        return list(self._output_buffers)


def _buffer(tensor: xir.Tensor) -> TensorBuffer:
    buffer = np.zeros(tensor.dims, np.int8).view(TensorBuffer)
    buffer._tensor = tensor
    return buffer


def _view(buffer: Any, tensor: xir.Tensor, writable: bool) -> np.ndarray:
    """The tensor's elements of a user's buffer, flat, not copied."""
    try:
        array = np.asarray(memoryview(buffer))
    except TypeError as error:
        raise TypeError(f"tensor {tensor.name!r}: expected an object with the buffer protocol ({error})") from error
    if not array.flags.c_contiguous:
        raise _aborts(f"tensor {tensor.name!r}: the buffer is not C-contiguous", "Use numpy.ascontiguousarray.")
    if writable and not array.flags.writeable:
        raise _aborts(f"tensor {tensor.name!r}: the output buffer is read-only", "Use an array of your own.")
    if array.dtype not in (np.int8, np.float32):
        raise _aborts(f"tensor {tensor.name!r}: expected int8 or float32, found {array.dtype}", "Convert the array.")
    if array.size < tensor.get_element_num():
        raise RunError(
            f"tensor {tensor.name!r}: expected {tensor.get_element_num()} elements {tensor.dims}, found {array.size} "
            "(the real vart does not check and reads past the end). Make the buffer as large as the tensor."
        )
    return array.reshape(-1)[: tensor.get_element_num()]


def _to_int8(array: np.ndarray, tensor: xir.Tensor) -> np.ndarray:
    if array.dtype == np.float32:
        # As C++ casts: towards zero, and the low eight bits where the value is too large.
        scaled = array * np.float32(2.0 ** tensor.get_attr("fix_point"))
        if not np.isfinite(scaled).all() or np.abs(scaled).max(initial=0) >= 2**31:
            raise RunError(f"tensor {tensor.name!r}: NaN or values beyond int32 in a float input. Check the input.")
        array = scaled.astype(np.int32).astype(np.int8)
    return array.reshape(tensor.dims)
