"""Training that gives the same weights each time, at the price of that alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_MEMORY: Any = torch.utils.deterministic  # mypy does not know its setting


@contextmanager
def repeatable() -> Iterator[None]:
    """Let torch compute by algorithms whose results do not vary from run to run.

    It would also fill all memory that it takes before using it, a help against reading what nobody wrote: that would
    cost up to a seventh of the time, and nothing here reads such memory.
    """
    before = torch.are_deterministic_algorithms_enabled(), _MEMORY.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    _MEMORY.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        _MEMORY.fill_uninitialized_memory = before[1]
