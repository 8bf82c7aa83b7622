"""Running out of memory, said in words that help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from board_app.core.errors import RoadslimError


@contextmanager
def memory_for(pictures: int, input_hw: tuple[int, int], device: torch.device) -> Iterator[None]:
    """Turn a failed allocation inside into an error that says what was wanted and what to lower.

    Raises:
        RoadslimError: there was not enough memory.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):  # torch's words on a CPU
            raise
        raise RoadslimError(
            f"training: expected memory on {device} for {pictures} pictures of {input_hw[0]}x{input_hw[1]} pixels at "
            f"once, found too little. Set micro_batch: {max(1, pictures // 2)} (with statistics_batch the results stay "
            "the same), or make the input smaller; the last checkpoint is kept"
        ) from error
