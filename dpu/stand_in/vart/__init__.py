"""A stand-in for AMD's `vart` Python module: runners on the software DPU, with the real one's API and manners.

As on a ZCU104 there are two DPU cores; runners are bound to them in turn, and `execute_async` is synchronous: it copies
in, runs under the core's lock, copies out. Use several threads with a runner each to keep both cores busy. What aborts
the real process raises here, and says so.

Environment:
    ROADSLIM_DPU_PACE         `off` (default: as fast as this machine goes) or `predicted`: each run holds its core for
                              the predicted DPU time, so that queues and frame drops are a board's; a machine slower
                              than that is not hurried.
    ROADSLIM_DPU_FINGERPRINT  the DPU that models are compared with, as 0x1000020F6014407; default: that of a ZCU104
                              with the 3.0 image. It changes nothing else.
    XLNX_ENABLE_FINGERPRINT_CHECK  0 lets a model for another DPU through, as with the real runtime.
    XLNX_DPU_DEVICE_CORES     the cores to use, as 0 or 0,1, as with the real runtime.
"""

from __future__ import annotations

import xir  # noqa: F401  (first: it makes the package `dpu` importable)

from .buffers import TensorBuffer
from .runner import Runner, RunnerExt

__all__ = ["ORIGIN", "Runner", "RunnerExt", "TensorBuffer"]

ORIGIN = "simulated"  # not in the real API: what every time taken on these runners is
