"""Running out of memory."""

from __future__ import annotations

import cv2
import pytest
import torch

from board_app.core.errors import RoadslimError
from compress.training.memory import memory_for

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        cv2.error("OpenCV(4.11.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 805306368 bytes"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:130] DefaultCPUAllocator: can't allocate memory: 12 bytes"),
    ],
)
def test_the_message_says_what_was_wanted_and_what_to_halve(error: Exception) -> None:
    """Pictures, size, device, and micro_batch by half."""
    with pytest.raises(RoadslimError, match=r"cpu for 16 pictures of 608x416 pixels.*micro_batch: 8"):
        with memory_for(16, (608, 416), CPU):
            raise error


def test_torchs_own_words_are_known() -> None:
    """A tensor that no machine can hold."""
    with pytest.raises(RoadslimError, match="found too little"), memory_for(1, (32, 32), CPU):
        torch.empty(1 << 60, dtype=torch.uint8)


def test_other_errors_pass() -> None:
    """What has nothing to do with memory is not renamed."""
    with pytest.raises(RuntimeError, match="sizes differ"), memory_for(1, (32, 32), CPU):
        raise RuntimeError("sizes differ")
