"""compress.training.heap: freed memory is not asked of the system again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PAGE_FAULTS = """
import resource, sys, torch
from compress.training.heap import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(32 << 20)
before = faults()
for _ in range(8):
    torch.ones(32 << 20)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_a_block_is_taken_up_again() -> None:
    """128 MB, eight times after a while: without, every page is made anew each time."""
    pages = []
    for way in ("keep", "as it is"):
        ran = subprocess.run([sys.executable, "-c", PAGE_FAULTS, way], capture_output=True, text=True, check=True)
        pages.append(int(ran.stdout))
    assert 10 * pages[0] < pages[1]
