"""The processes of one training: one alone, or several on one machine or more, each with a device of its own.

`torchrun` or `accelerate launch` starts them; `accelerate` finds out how many there are and on what they compute (gloo
between CPUs, nccl between GPUs). All compute the same steps; only the main one writes.
"""

from __future__ import annotations

import io
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from types import FrameType
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from torch import Tensor, distributed

from board_app.core.errors import RoadslimError, UsageError

T = TypeVar("T")
_PATIENCE = timedelta(minutes=30)  # a process that died is noticed at once; this is for a network that fell silent


@cache
def _state() -> PartialState:
    cpu = not torch.cuda.is_available()
    if not cpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may differ from run to run
    state = PartialState(cpu=cpu, **({"timeout": _PATIENCE} if _started() > 1 else {}))
    if state.num_processes > 1:
        signal.signal(signal.SIGTERM, _told_to_end)
    return state


def _started() -> int:
    """How many a launcher says that it started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _told_to_end(number: int, frame: FrameType | None) -> None:
    raise _gone("this process was told to end, as its launcher does when another one failed")


def count() -> int:
    """How many processes there are; 1 where nobody started several."""
    return int(_state().num_processes)


def check_alone(command: str, instead: str) -> None:
    """Refuse a command that each process would run for itself.

    Raises:
        UsageError: a launcher started several; `instead` says what to do.
    """
    if _started() > 1:
        raise UsageError(f"{command}: expected one process, found {_started()} that were started together. {instead}")


def rank() -> int:
    """Which of them this is, from 0."""
    return int(_state().process_index)


def is_main() -> bool:
    """Whether this is the one that writes files and talks."""
    return rank() == 0


def device() -> torch.device:
    """What this process computes on."""
    found = torch.device(_state().device)
    return torch.device("cpu") if found.type == "cpu" else found  # not `cpu:0`, which torch.load does not know


def threads(configured: int = 0) -> int:
    """Threads for torch in this process: as configured, or its share of the machine's cores."""
    on_this_machine = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if configured or on_this_machine == 1:
        return configured or torch.get_num_threads()
    return max(1, len(os.sched_getaffinity(0)) // on_this_machine)


def add_up(values: Sequence[Tensor]) -> None:
    """Replace tensors, of the same shapes in every process, by their sums over all processes."""
    if count() == 1:
        return
    whole = torch.cat([value.detach().reshape(-1) for value in values])
    with _together():
        distributed.all_reduce(whole)
    for value, total in zip(values, whole.split([value.numel() for value in values]), strict=True):
        value.copy_(total.view(value.shape))


def gathered(mine: T) -> list[T]:
    """What every process gives, in their order."""
    if count() == 1:
        return [mine]
    everyone: list[T] = [mine] * count()
    with _together():
        distributed.all_gather_object(everyone, mine)
    return everyone


def from_main(make: Callable[[], T]) -> T:
    """What `make` gives in the main process, in all of them; the others wait for it, and end where it fails."""
    made: list[Any] = [make() if is_main() else None]
    if count() > 1:
        with _together():
            distributed.broadcast_object_list(made, 0, device=device())
    result: T = made[0]
    return result


def share_of_main(module: torch.nn.Module) -> None:
    """Give the module of every process the main one's parameters and buffers."""
    if count() == 1:
        return

    def content() -> bytes:
        stream = io.BytesIO()
        torch.save(module.state_dict(), stream)
        return stream.getvalue()

    module.load_state_dict(torch.load(io.BytesIO(from_main(content)), weights_only=True))


@contextmanager
def _together() -> Iterator[None]:
    """Say what it means when the others do not answer."""
    try:
        yield
    except RuntimeError as error:  # of gloo and nccl alike
        raise _gone(_reason(error)) from error


def _reason(error: RuntimeError) -> str:
    """The first sentence of what gloo or nccl says, without the places in their source."""
    return re.sub(r"\[[^]]*/[^]]*\]\s*", "", str(error)).strip().split(". ")[0].splitlines()[0]


def _gone(reason: str) -> RoadslimError:
    return RoadslimError(
        f"expected all {count()} processes to go on together, found one gone ({reason}). "
        "What they had finished is kept; the same command goes on from the last checkpoint"
    )
