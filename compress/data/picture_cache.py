"""Decoded pictures kept in memory, as many as a limit allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class PictureCache(Generic[Entry]):
    """Keeps the pictures of the first so many indices; the others are decoded each time.

    In an epoch every picture is wanted once, so none is worth more than another and nothing is ever thrown out.
    Threads may share it: at worst two decode the same picture at once.

    Args:
        limit_bytes: of all that is kept.
        picture_bytes: of one picture.
    """

    def __init__(self, limit_bytes: int, picture_bytes: int) -> None:
        self.capacity = limit_bytes // picture_bytes
        self._kept: dict[int, Entry] = {}

    def get(self, index: int, decode: Callable[[int], Entry]) -> Entry:
        """The picture from memory, or decoded and, where there is room for it, kept."""
        entry = self._kept.get(index)
        if entry is None:
            entry = decode(index)
            if index < self.capacity:
                self._kept[index] = entry
        return entry
