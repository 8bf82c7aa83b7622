"""Runners."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import xir

from dpu.errors import RunError

from .aborts import aborts
from .buffers import TensorBuffer, copied_in, copy_out, elements
from .sessions import Session, session_of


class Runner:
    """Runs one subgraph; a DPU subgraph on the core it was bound to. Make one for each thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._in_use = threading.Lock()

    @classmethod
    def create_runner(cls, subgraph: xir.Subgraph, mode: str = "") -> Any:
        """A runner for a DPU or CPU subgraph; `mode` is `run`, as in the subgraph's attribute `runner`."""
        if not hasattr(subgraph, "as_written"):
            raise TypeError(
                f"create_runner(): incompatible function arguments: expected xir.Subgraph, found {subgraph!r}"
            )
        return cls(session_of(subgraph, mode))

    def get_input_tensors(self) -> list[xir.Tensor]:
        """The inputs by name; on the DPU int8, dims [1, H, W, C]."""
        return list(self._session.inputs)

    def get_output_tensors(self) -> list[xir.Tensor]:
        """The outputs by name; on the DPU int8, dims [1, H, W, C]."""
        return list(self._session.outputs)

    def execute_async(
        self, inputs: Sequence[Any], outputs: Sequence[Any], enable_dynamic_array: bool = False
    ) -> tuple[int, int]:
        """Run once, whole, before returning; the result goes to `wait`.

        Buffers stand in the order of the tensors, C-contiguous and writable: int8, or float32 (inputs: times
        2^fix_point and TRUNCATED, as VART copies; outputs: integers times 2^-fix_point). Their shapes are compared only
        if `enable_dynamic_array`.
        """
        sources = self._elements(inputs, self._session.inputs, enable_dynamic_array)
        targets = self._elements(outputs, self._session.outputs, enable_dynamic_array)
        if not self._in_use.acquire(blocking=False):
            raise aborts("another thread is in execute_async of this runner", "Make a runner for each thread.")
        try:
            tensors = zip(self._session.inputs, sources)  # noqa: B905 (Python 3.9)
            results = self._session.run({tensor.name: copied_in(array, tensor) for tensor, array in tensors})
            for tensor, target in zip(self._session.outputs, targets):  # noqa: B905
                copy_out(results[tensor.name], target, tensor)
        finally:
            self._in_use.release()
        return 1, 0

    def wait(self, job_id: tuple[int, int]) -> int:
        """0: the run was done when `execute_async` returned. Takes the whole tuple, as the real one does."""
        pair = isinstance(job_id, (tuple, list)) and len(job_id) == 2
        if not pair or not all(isinstance(number, int) for number in job_id):
            raise TypeError(
                f"wait(): incompatible function arguments, expected the tuple of execute_async, found {job_id!r}"
            )
        return 0

    def _elements(self, buffers: Sequence[Any], tensors: list[Any], dynamic: bool) -> list[Any]:
        if not hasattr(buffers, "__getitem__") or isinstance(buffers, (str, bytes, dict)):
            raise TypeError(f"execute_async(): incompatible function arguments: expected a list, found {buffers!r}")
        if len(buffers) != len(tensors):
            raise RunError(
                f"expected {len(tensors)} buffers, for {[tensor.name for tensor in tensors]}, found {len(buffers)} "
                "(the real vart does not check: too many crash it, too few leave tensors as they were). Give all."
            )
        arrays = [elements(buffer, tensor, dynamic) for buffer, tensor in zip(buffers, tensors)]  # noqa: B905
        for array, tensor in zip(arrays, tensors):  # noqa: B905
            if not self._session.converts and (array.dtype == "float32") != (tensor.dtype == "float32"):
                raise aborts(f"tensor {tensor.name!r} is {tensor.dtype}, found {array.dtype}", "Convert the array.")
        return arrays

    def __repr__(self) -> str:
        return f"vart::Runner@{id(self):#x}"


class RunnerExt(Runner):
    """A runner with buffers of its own."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._input_buffers = [TensorBuffer.of(tensor) for tensor in session.inputs]
        self._output_buffers = [TensorBuffer.of(tensor) for tensor in session.outputs]

    def get_inputs(self) -> list[TensorBuffer]:
        """The input buffers, the same ones at each call."""
        return list(self._input_buffers)

    def get_outputs(self) -> list[TensorBuffer]:
        """The output buffers, the same ones at each call."""
        return list(self._output_buffers)
