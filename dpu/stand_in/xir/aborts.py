"""Errors for what ends the process of a user of the real `xir`."""

from __future__ import annotations

from dpu.errors import RunError


def aborts(why: str, remedy: str) -> RunError:
    """The error to raise where the real xir logs a fatal error, which ends the process (SIGABRT)."""
    return RunError(f"{why} (the real xir aborts the process here). {remedy}")


def no_cast(what: str, value: object, expected: str) -> RunError:
    """The error to raise where the real binding cannot cast a Python value: a RuntimeError there too."""
    return RunError(f"{what}: expected {expected}, found {value!r}. Give a value of that type.")
