"""Attributes of graphs, subgraphs, operators and tensors, with the types that the real binding stores and gives back.

What is stored depends on the Python type alone: an int is an int32, a float a double, a list of ints an int32 vector;
only for attributes that an operator's definition names does the definition choose (a float, a vector of floats...).
Source: Xilinx/Vitis-AI (Apache-2.0), src/vai_runtime/xir/src/python/wrapper/wrapper.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dpu.graph import Attr

from .aborts import aborts, no_cast

_INT32 = range(-(2**31), 2**31)
_READ_AS_NONE = "bytes_vec"  # and every map but these two:
_READABLE_MAPS = ("map_string_2_int32", "map_string_2_string")


class Attributed:
    """What has attributes."""

    _attrs: dict[str, Attr]

    def has_attr(self, name: str) -> bool:
        return name in self._attrs

    def get_attr(self, name: str) -> Any:
        """The value as bool, int, float, str, bytes, list or dict; None for the kinds the real binding cannot give."""
        if name not in self._attrs:
            raise aborts(f"attribute {name!r} does not exist", "Ask has_attr first.")
        return plain(self._attrs[name])

    def get_attrs(self) -> dict[str, Any]:
        return {name: plain(attr) for name, attr in self._attrs.items()}

    def set_attr(self, name: str, value: Any) -> None:
        self._store({**self._attrs, name: self._attr_of(name, value)})

    def set_attrs(self, attrs: dict[str, Any]) -> None:
        """Replace all attributes."""
        if not isinstance(attrs, dict):
            raise aborts(f"attrs: expected a dict, found {attrs!r}", "Give a dict.")
        self._store({name: self._attr_of(name, value) for name, value in attrs.items()})

    def _attr_of(self, name: str, value: Any) -> Attr:
        return attr_of(name, value)

    def _store(self, attrs: dict[str, Attr]) -> None:
        self._changes()
        self._attrs = attrs

    def _changes(self) -> None:
        """Called before anything is changed; may refuse."""


def plain(attr: Attr) -> Any:
    """The Python value that the real binding makes of a stored attribute."""
    if attr.kind == _READ_AS_NONE or (attr.kind.startswith("map_") and attr.kind not in _READABLE_MAPS):
        return None
    if isinstance(attr.value, dict):
        return dict(attr.value)
    return list(attr.value) if isinstance(attr.value, tuple) else attr.value


def attr_of(name: str, value: Any) -> Attr:
    """The attribute that is stored for a Python value where no definition says otherwise. Raises RunError."""
    if isinstance(value, bool):
        return Attr("bool", value)
    if isinstance(value, int):
        return Attr("int32", _int32(name, value))
    if isinstance(value, float):
        return Attr("double", float(value))
    if isinstance(value, str):
        return Attr("string", value)
    if isinstance(value, (bytes, np.ndarray)):
        return Attr("bytes", _bytes(value))
    if isinstance(value, (list, dict)):
        if not value:
            raise aborts(f"attribute {name!r}: cannot set an empty {type(value).__name__}", "Leave the attribute out.")
        found = _attr_of_list(name, value) if isinstance(value, list) else _attr_of_dict(name, value)
        if found is not None:
            return found
    raise aborts(
        f"attribute {name!r}: unsupported data type {type(value).__name__} {value!r}",
        "Give a bool, int, float, str, bytes, array, a list of one of int, float, str, or a dict of int or str.",
    )


def _attr_of_list(name: str, value: list[Any]) -> Attr | None:
    if all(isinstance(item, int) for item in value):  # bools are ints here, as in the real binding
        return Attr("int32_vec", tuple(_int32(name, item) for item in value))
    if all(isinstance(item, float) for item in value):
        return Attr("double_vec", tuple(value))
    if all(isinstance(item, str) for item in value):
        return Attr("string_vec", tuple(value))
    return None


def _attr_of_dict(name: str, value: dict[Any, Any]) -> Attr | None:
    if not all(isinstance(key, str) for key in value):
        return None
    if all(isinstance(item, int) for item in value.values()):
        return Attr("map_string_2_int32", {key: _int32(name, item) for key, item in value.items()})
    if all(isinstance(item, str) for item in value.values()):
        return Attr("map_string_2_string", dict(value))
    return None  # floats: the real one takes them, reads them back as None and aborts when it writes the file


def attr_of_kind(name: str, value: Any, kind: str) -> Attr:
    """The attribute that is stored where an operator's definition names its kind. Raises RunError."""
    if kind.endswith("_vec"):
        if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, (str, bytes)):
            raise no_cast(f"attribute {name!r}", value, f"a list of {kind[:-4]}")
        return Attr(kind, tuple(_scalar(name, item, kind[:-4]) for item in value))
    return Attr(kind, _scalar(name, value, kind))


def _scalar(name: str, value: Any, kind: str) -> Any:
    if kind == "bool" and (value is None or isinstance(value, (bool, int, float, np.bool_))):
        return bool(value)
    if kind == "int32" and isinstance(value, (int, np.integer)):
        return _int32(name, int(value))
    if kind in ("float", "double") and isinstance(value, (int, float, np.integer, np.floating)):
        return float(np.float32(value)) if kind == "float" else float(value)
    if kind == "string" and isinstance(value, (str, bytes)):
        return value if isinstance(value, str) else value.decode()
    if kind == "bytes" and isinstance(value, (bytes, np.ndarray)):
        return _bytes(value)
    raise no_cast(f"attribute {name!r}", value, kind)


def _int32(name: str, value: int) -> int:
    if value not in _INT32:
        raise no_cast(f"attribute {name!r}", value, "an int32")
    return int(value)


def _bytes(value: bytes | np.ndarray) -> bytes:
    return value.tobytes() if isinstance(value, np.ndarray) else value
