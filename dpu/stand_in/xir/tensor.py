"""Tensors and their data types."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dpu import graph as stored

from .aborts import aborts
from .attributes import Attributed

if TYPE_CHECKING:
    from .op import Op


class _Type(enum.IntEnum):
    INT = 0
    UINT = 1
    XINT = 2
    XUINT = 3
    FLOAT = 4
    UNKNOWN = 6


class DataType:
    """A type and its bits: DataType("xint8"), DataType(DataType.Type.FLOAT, 32)."""

    Type = _Type

    def __init__(self, kind: Any = _Type.UNKNOWN, bit_width: int = 0) -> None:
        if isinstance(kind, str):
            match = re.fullmatch(r"([A-Za-z]+)([0-9]+)", kind)
            if match is None:
                raise aborts(f"{kind!r} is an invalid data type", "Write a type and its bits, as in xint8 or float32.")
            word = match[1]
            known = word in (word.upper(), word.lower()) and word.upper() in _Type.__members__
            kind, bit_width = _Type[word.upper()] if known else _Type.UNKNOWN, int(match[2])
        self.type = kind
        self.bit_width = bit_width

    def __str__(self) -> str:
        return f"'{self.type.name.lower()}{self.bit_width}'"

    def __repr__(self) -> str:
        return f"<xir.DataType {self}>"


def dtype_of(text: str) -> str:
    """`xint8` for "XINT8". Raises RunError for what is no data type."""
    data_type = DataType(text)
    if data_type.type is _Type.UNKNOWN or not data_type.bit_width:
        raise aborts(f"{text!r} is an invalid data type", "Use int, uint, xint, xuint or float and a number of bits.")
    return f"{data_type.type.name.lower()}{data_type.bit_width}"


class Tensor(Attributed):
    """An operator's output: name, dims, dtype and attributes such as `fix_point`."""

    def __init__(self, tensor: stored.Tensor, producer: Op | None = None) -> None:
        self._read = tensor
        self._name = tensor.name
        self._shape = tensor.shape
        self._dtype = tensor.dtype
        self._attrs = dict(tensor.attrs)
        self._producer = producer

    @staticmethod
    def clone(tensor: Tensor) -> Tensor:
        """A copy that no operator produces."""
        return Tensor(tensor._stored())

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        if name == self._name:
            return
        if self._producer is not None and self._producer.get_graph().get_tensor(name) is not None:
            raise aborts(f"tensor {self._name!r}: another tensor is already called {name!r}", "Choose another name.")
        self._changes()
        self._name = name

    @property
    def dims(self) -> list[int]:
        return list(self._shape)

    @property
    def ndim(self) -> int:
        return len(self._shape)

    @property
    def dtype(self) -> str:
        return self._dtype

    @property
    def producer(self) -> Op | None:
        return self._producer

    def get_element_num(self) -> int:
        return math.prod(self._shape) if self._shape else 0

    def get_data_size(self) -> int:
        """Bytes, rounded up."""
        return -(-self.get_element_num() * DataType(self._dtype).bit_width // 8)

    def _changes(self) -> None:
        if self._producer is not None:
            self._producer._changes()

    def _stored(self) -> stored.Tensor:
        return replace(self._read, name=self._name, shape=self._shape, dtype=self._dtype, attrs=dict(self._attrs))

    def __repr__(self) -> str:
        return f"<xir.Tensor named '{self._name}'>"

    def __str__(self) -> str:
        return f"{{name: '{self._name}', shape: {self.dims}, type: '{self._dtype}', attrs: {self.get_attrs()}}}"
