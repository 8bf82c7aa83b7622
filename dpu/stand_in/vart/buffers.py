"""Buffers: a user's arrays as tensors, and the copies between types that VART makes.

Source: Xilinx/Vitis-AI (Apache-2.0), src/vai_runtime/vart/runner/python/runner_py_module.cpp and src/tensor_buffer.cpp.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from dpu.errors import RunError

from .aborts import aborts

_FOREIGN = "(the real vart copies its bytes as they are: wrong numbers, and no error)"


class ReadOnlyError(RunError, ValueError):
    """A buffer that cannot be written; the real binding raises numpy's ValueError."""


class TensorBuffer(np.ndarray):
    """A runner's own buffer, with the buffer protocol and its tensor. Look at it with numpy.asarray(buffer)."""

    _tensor: Any

    @staticmethod
    def of(tensor: Any) -> TensorBuffer:
        """A buffer of zeros for a tensor."""
        buffer = np.zeros(tensor.dims, _native(tensor)).view(TensorBuffer)
        buffer._tensor = tensor
        return buffer

    def get_tensor(self) -> Any:
        return self._tensor

    def _no_items(self, *_: Any) -> NoReturn:
        raise TypeError("'vart.TensorBuffer' object has no items, in the real module either: use numpy.asarray(buffer)")

    __getitem__ = __setitem__ = __len__ = __iter__ = _no_items  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"TensorBuffer{{@{id(self):#x},tensor={self._tensor!r},location=HOST_VIRT}}"

    __str__ = __repr__


_NATIVE = {"xint8": np.int8, "int8": np.int8, "float32": np.float32}


def _native(tensor: Any) -> Any:
    if tensor.dtype not in _NATIVE:
        raise RunError(
            f"tensor {tensor.name!r}: expected one of {', '.join(_NATIVE)}, found {tensor.dtype}, which no buffer here "
            "holds. Take it from `roadslim xmodel run`."
        )
    return _NATIVE[tensor.dtype]


def elements(buffer: Any, tensor: Any, dynamic: bool = False) -> np.ndarray:
    """A tensor's elements in a user's buffer, flat, not copied.

    Args:
        buffer: what has the buffer protocol: C-contiguous, writable (inputs too), int8 or float32.
        tensor: an xir.Tensor; the buffer's shape need not be the tensor's, its size must suffice.
        dynamic: compare the shapes, less the first number.
    Raises:
        RunError: where the real vart aborts, or reads or writes what it should not.
        TypeError: no buffer.
    """
    try:
        array = np.asarray(memoryview(buffer))
    except TypeError as error:
        raise TypeError(
            f"execute_async(): incompatible function arguments: tensor {tensor.name!r}: expected an object with the "
            f"buffer protocol, found {type(buffer).__name__}"
        ) from error
    if not array.flags.writeable:
        raise ReadOnlyError(
            f"tensor {tensor.name!r}: the buffer is read-only (the real vart asks for writable ones, inputs too, and "
            "raises ValueError). Copy the array."
        )
    if not array.flags.c_contiguous:
        raise RunError(
            f"tensor {tensor.name!r}: the buffer is not C-contiguous (the real vart takes its memory as it lies, and "
            "does not tell). Use numpy.ascontiguousarray."
        )
    _check_type(array, tensor)
    count = tensor.get_element_num()
    if dynamic and (array.ndim != tensor.ndim or list(array.shape[1:]) != tensor.dims[1:]):
        raise aborts(f"tensor {tensor.name!r}: expected shape {tensor.dims}, found {list(array.shape)}", "Reshape it.")
    if array.size < count:
        raise RunError(
            f"tensor {tensor.name!r}: expected {count} elements {tensor.dims}, found {array.size} (the real vart does "
            "not check and goes past the end). Make the buffer as large as the tensor."
        )
    return array.reshape(-1)[:count]


def _check_type(array: np.ndarray, tensor: Any) -> None:
    native = _native(tensor)
    if array.dtype not in (np.int8, np.int16, np.float32):
        raise aborts(
            f"tensor {tensor.name!r}: unsupported data type: expected int8 or float32, found {array.dtype}",
            "Convert the array.",
        )
    if array.dtype == np.int16:
        raise RunError(f"tensor {tensor.name!r}: expected int8, found int16 {_FOREIGN}. Convert the array.")
    if native is np.float32 and array.dtype != np.float32:
        raise aborts(f"tensor {tensor.name!r}: expected float32, found {array.dtype}", "Convert the array.")


def copied_in(array: np.ndarray, tensor: Any) -> np.ndarray:
    """A buffer's elements as the tensor holds them: float to int8 is times 2^fix_point, cut, not rounded."""
    if array.dtype == np.float32 and tensor.dtype != "float32":
        # Towards zero, and the low eight bits where the value is too large: there is no saturation.
        scaled = array * np.float32(2.0 ** _fix_point(tensor))
        if not np.isfinite(scaled).all() or np.abs(scaled).max(initial=0) >= 2**31:
            raise RunError(f"tensor {tensor.name!r}: NaN or values beyond int32 in a float input. Check the input.")
        array = scaled.astype(np.int32).astype(np.int8)
    return array.reshape(tensor.dims)


def copy_out(values: np.ndarray, target: np.ndarray, tensor: Any) -> None:
    """Fill a buffer with a tensor's values: int8 to float is times 2^-fix_point."""
    if values.size != target.size:
        raise RunError(
            f"tensor {tensor.name!r}: expected {tensor.dims}, as the file says, found that the model gives "
            f"{list(values.shape)}. The file is damaged: export it again."
        )
    if target.dtype == np.float32 and values.dtype == np.int8:
        target[:] = values.reshape(-1) * np.float32(2.0 ** -_fix_point(tensor))
    else:
        target[:] = values.reshape(-1)


def _fix_point(tensor: Any) -> int:
    if not tensor.has_attr("fix_point"):
        raise aborts(f"tensor {tensor.name!r} has no fix_point for a float buffer", "Give an int8 buffer.")
    return int(tensor.get_attr("fix_point"))
