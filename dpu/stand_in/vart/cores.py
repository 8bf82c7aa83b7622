"""The DPU's cores: runners are bound to them in turn, and one run at a time holds a core.

Source: Xilinx/Vitis-AI (Apache-2.0), src/vai_runtime/vart/dpu-runner/src/imp/dpu_session_base_imp.cpp.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from dpu.architecture import BOARDS
from dpu.errors import RunError, UnsupportedModelError
from dpu.graph import Graph, Subgraph

from .aborts import aborts

BOARD = BOARDS["zcu104"]
IMAGE = "3.0"  # the Vitis AI version of the board's image

Result = TypeVar("Result")


class Core:
    """One core of the DPU."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.lock = threading.Lock()

    def run(self, work: Callable[[], Result], held_s: float) -> Result:
        """Do the work while holding the core for at least so many seconds."""
        with self.lock:
            began = time.monotonic()
            result = work()
            rest = held_s - (time.monotonic() - began)
            if rest > 0:
                time.sleep(rest)
        return result


CORES = tuple(Core(number) for number in range(BOARD.cores))
_binding = threading.Lock()
_bound = 0


def next_core() -> Core:
    """The core of the next runner: each in turn, of those that XLNX_DPU_DEVICE_CORES lists (as 0 or 0,1)."""
    global _bound
    listed = os.environ.get("XLNX_DPU_DEVICE_CORES", "")
    try:
        numbers = [int(number) for number in listed.split(",") if number.strip()] or list(range(len(CORES)))
        with _binding:
            core = CORES[numbers[_bound % len(numbers)]]
            _bound += 1
    except (ValueError, IndexError):
        raise aborts(
            f"XLNX_DPU_DEVICE_CORES: expected numbers below {len(CORES)}, found {listed!r}", "List cores as in 0,1."
        ) from None
    return core


def check_fingerprint(part: Subgraph) -> None:
    """Raise UnsupportedModelError, in AMD's words, for a model that was compiled for another DPU."""
    model, board = part.fingerprint, _fingerprint()
    if model in (0, board) or board == 0 or os.environ.get("XLNX_ENABLE_FINGERPRINT_CHECK", "1") == "0":
        return
    raise UnsupportedModelError(
        f"CHECK fingerprint fail! model_fingerprint 0x{model:x} is un-matched with actual dpu_fingerprint 0x{board:x}. "
        f"Please re-compile xmodel with dpu_fingerprint 0x{board:x} and try again.\n"
        "fingerprint check failure. (The real vart aborts the process, at the latest at the first run.)"
    )


def _fingerprint() -> int:
    chosen = os.environ.get("ROADSLIM_DPU_FINGERPRINT", "")
    try:
        return int(chosen, 16) if chosen else BOARD.fingerprints[IMAGE]
    except ValueError:
        raise RunError(
            f"ROADSLIM_DPU_FINGERPRINT: expected a hexadecimal number, found {chosen!r}. Write 0x and 15 digits."
        ) from None


def held_s(graph: Graph, part: Subgraph) -> float:
    """Seconds for which a run holds its core, by ROADSLIM_DPU_PACE."""
    pace = os.environ.get("ROADSLIM_DPU_PACE", "off") or "off"
    if pace == "off":
        return 0.0
    if pace != "predicted":
        raise RunError(f"ROADSLIM_DPU_PACE: expected off or predicted, found {pace!r}. Set one of them.")
    from dpu.graph_layers import layers_of_integer_graph
    from dpu.latency import predict

    return predict(layers_of_integer_graph(graph, part.name), BOARD).dpu_ms / 1e3
