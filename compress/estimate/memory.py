"""How much memory this process, or its GPU, needed at most, and what a training step adds to it."""

from __future__ import annotations

import gc
import resource
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from compress.training.heap import give_back_freed_memory

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # man 5 proc: the resident set's peak becomes its present size


@dataclass(frozen=True)
class Peak:
    """The most bytes in use at once: of this process (resident), and on a GPU where there is one."""

    process_bytes: int = 0
    gpu_bytes: int = 0


def forget_peak() -> None:
    """Begin anew, without what is no longer used."""
    _give_back()
    reset_peak()


def reset_peak() -> None:
    """Begin anew with all that is there; where the kernel cannot forget older peaks, they stay."""
    if _RESET.exists():
        _RESET.write_text(_RESET_PEAK, encoding="ascii")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> Peak:
    """The peak since it was reset or forgotten."""
    return Peak(_resident_peak(), torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0)


def _resident_peak() -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines() if _STATUS.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def kept_for_backward(network: nn.Module, images: Tensor) -> int:
    """Bytes that a forward pass keeps until its gradients are computed; they grow with the pixels, exactly."""
    own = {values.untyped_storage().data_ptr() for values in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def note(values: Tensor) -> Tensor:
        storage = values.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return values.detach()  # a node that kept its own output would never go

    with torch.autograd.graph.saved_tensors_hooks(note, lambda values: values):
        raw_heads = network.train()(images)
    del raw_heads  # until now it held what was noted
    return sum(kept.values())


def available_bytes() -> int:
    """Memory that is free for a new process, as the kernel estimates it."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo: expected a line MemAvailable, found none. Estimates need Linux 3.14 or newer.")


def available_to_steps() -> int:
    """What a step can take, also of what was freed: of the GPU's memory where there is one."""
    _give_back()
    here = available_bytes()
    return min(here, torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else here


def _give_back() -> None:
    gc.collect()
    give_back_freed_memory()
