"""Errors for what ends the process of a user of the real `vart`."""

from __future__ import annotations

from dpu.errors import RunError


def aborts(why: str, remedy: str) -> RunError:
    """The error to raise where the real vart logs a fatal error, which ends the process (SIGABRT)."""
    return RunError(f"{why} (the real vart aborts the process here). {remedy}")
