"""What a training needs to go on after a kill, in one file that is whole or not there."""

from __future__ import annotations

import io
import pickle  # noqa: S403  for its error alone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from board_app.core.atomic_file import write_bytes
from board_app.core.errors import InputError
from compress.training import processes

_FORMAT = 2  # raised when the parts of a checkpoint change
_BROKEN = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, EOFError, pickle.UnpicklingError)
State = dict[str, Any]


def save_state(path: Path, state: State) -> None:
    """Write tensors, numbers and containers of them, one of which is the network's state: `network`.

    Raises:
        OSError: the disk is full; what was there is as it was.
    """
    content = io.BytesIO()  # torch writes to files in a way that hides a full disk
    torch.save({"format": _FORMAT} | state, content)
    write_bytes(path, content.getvalue())


def load_state(path: Path, network: nn.Module) -> State | None:
    """What the main process finds there, given to every process, on the CPU; None where there is no file.

    No code from the file is run.

    Raises:
        InputError: the file is damaged, of another network or of another version of Roadslim. Nothing is changed.
    """
    content = processes.from_main(lambda: path.read_bytes() if path.exists() else None)
    if content is None:
        return None
    try:
        state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        found = state.get("format", 1)
    except _BROKEN as error:
        raise _refused(path, f"one that is damaged ({type(error).__name__})") from error
    if found != _FORMAT:
        raise _refused(path, f"format {found}, of another version of Roadslim, not {_FORMAT}; that version goes on")
    difference = _difference(state["network"], network.state_dict())
    if difference:
        raise _refused(path, f"another network's: {difference}")
    return state


def _difference(stored: dict[str, Tensor], present: dict[str, Tensor]) -> str | None:
    """The first tensor that is not of the same size in both, in words."""
    for name in [*present, *stored]:
        there, here = (weights[name].shape if name in weights else None for weights in (stored, present))
        if there != here:
            found, expected = ("missing" if size is None else f"of size {list(size)}" for size in (there, here))
            return f"{name} is {found} in it and {expected} here"
    return None


def _refused(path: Path, found: str) -> InputError:
    return InputError(
        f"expected a checkpoint of this training at {path}, found {found}. Nothing was changed; remove the folder "
        f"{path.parent} to start this stage afresh"
    )
