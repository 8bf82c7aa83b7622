"""Running out of memory, said in words that help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import cv2
import torch

from board_app.core.errors import RoadslimError

_TORCH_ON_A_CPU, _OPENCV = "can't allocate memory", "Insufficient memory"


def memory_for(pictures: int, input_hw: tuple[int, int], device: torch.device) -> AbstractContextManager[None]:
    """Turn a failed allocation in a training inside into an error that says what was wanted and what to lower.

    Raises:
        RoadslimError: there was not enough memory.
    """
    return enough_memory(
        f"training: expected memory on {device} for {pictures} pictures of {input_hw[0]}x{input_hw[1]} pixels at once",
        f"Set micro_batch: {max(1, pictures // 2)} (with statistics_batch the results stay the same), or make the "
        "input smaller; the last checkpoint is kept",
    )


@contextmanager
def enough_memory(expected: str, remedy: str) -> Iterator[None]:
    """Turn a failed allocation inside, of torch, numpy or OpenCV, into an error of these words.

    Raises:
        RoadslimError: there was not enough memory.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError, cv2.error) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and _TORCH_ON_A_CPU not in str(error) and _OPENCV not in str(error):
            raise
        raise RoadslimError(f"{expected}, found too little. {remedy}") from error
