"""The DPU in software: the .xmodel file, its int8 arithmetic, an exact executor, the latency model, and stand-ins for
the modules `xir` and `vart`."""

from __future__ import annotations

from pathlib import Path

__all__ = ["stand_in_path"]


def stand_in_path() -> Path:
    """The folder that holds the stand-in modules `xir` and `vart`; put it in front on PYTHONPATH."""
    return Path(__file__).resolve().parent / "stand_in"
