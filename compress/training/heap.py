"""Freed memory kept for the next step, which asks for as much again.

glibc gives large blocks back to the system as they are freed, and the kernel fills every page with zeros when the next
step asks for them. Sources: mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h
_NEVER = -1


def keep_freed_memory() -> None:
    """From now on to the end of the process; with another C library than glibc nothing changes."""
    if _is_glibc():
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)  # no block is mapped by itself
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def give_back_freed_memory() -> None:
    """What is kept so far; the same holds."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
