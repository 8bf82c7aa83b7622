"""Custom operators in AMD's Python form, unchanged: a file TYPE.py with a class TYPE in a folder `vart_op_imp`.

A class is made with the operator (an `xir.Op`: get_attr, get_input_tensors...) and called as
`calculate(output=buffer, input=[buffer, ...])`, other arguments by their names; a buffer is an array that has
`get_tensor()`. Code is only executed from this package's own folder and from one that the user names.
"""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from dpu.cpu_ops import Arguments, CpuOperator
from dpu.errors import RunError
from dpu.graph import Graph, Op

EXAMPLES = Path(__file__).parent / "vart_op_imp"

_NUMPY_TYPES = {"float32": np.float32, "float64": np.float64, "int32": np.int32, "int64": np.int64, "xint8": np.int8}


class TensorBuffer(np.ndarray):
    """An array that knows its tensor, as a vart.TensorBuffer does."""

    tensor: Any

    def get_tensor(self) -> Any:
        """The xir.Tensor: name, dims, dtype, get_attr."""
        return self.tensor


def find_custom_operator(graph: Graph, op: Op, folder: Path) -> CpuOperator | None:
    """The operator's implementation in a folder, or None where the folder has no TYPE.py.

    Raises RunError for a file that cannot be imported, or has no such class.
    """
    path = folder / f"{op.type}.py"
    if not op.type.isidentifier() or not path.is_file():  # a type from a file must not lead out of the folder
        return None
    made = getattr(_module(path), op.type, None)
    if made is None or not callable(getattr(made, "calculate", None)):
        raise RunError(
            f"{path}: expected a class {op.type} with a method calculate(self, output, input), found none. Add it."
        )
    return _Custom(graph, op, made, path).run


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"vart_op_imp.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RunError(
            f"{path}: expected a Python file that can be imported, found {type(error).__name__}: {error}. Correct it; "
            "for `import xir` or `import vart` put dpu/stand_in on PYTHONPATH."
        ) from error
    return module


class _Custom:
    """One operator's own object; it may keep state, so one thread at a time calls it."""

    def __init__(self, graph: Graph, op: Op, made: Any, path: Path) -> None:
        from dpu.stand_in.xir import Graph as XirGraph

        self._op = op
        self._path = path
        self._xir_op: Any = XirGraph.of(graph).get_op(op.name)
        self._lock = threading.Lock()
        self._object = self._call(lambda: made(self._xir_op))

    def run(self, op: Op, arguments: Arguments) -> np.ndarray:
        """Call `calculate` on views of the inputs and give what it wrote; what it left alone is zero."""
        inner = self._xir_op.get_output_tensor()
        result = np.zeros(op.output.shape, _NUMPY_TYPES.get(op.output.dtype, np.float32))
        buffers = {
            name: [
                _buffer(array, source.get_output_tensor())
                for array, source in zip(arrays, self._xir_op.get_input_ops_by_name(name))  # noqa: B905
            ]
            for name, arrays in arguments.items()
        }
        with self._lock:
            self._call(lambda: self._object.calculate(output=_buffer(result, inner), **buffers))
        return result

    def _call(self, call: Any) -> Any:
        try:
            return call()
        except Exception as error:
            raise RunError(
                f"operator {self._op.name!r} ({self._op.type}): {self._path} raised {type(error).__name__}: {error}. "
                "Correct the inputs or that file."
            ) from error


def _buffer(array: np.ndarray, tensor: Any) -> TensorBuffer:
    view = np.ascontiguousarray(array).view(TensorBuffer)
    view.tensor = tensor
    return view
