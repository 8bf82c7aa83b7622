"""A small model many times from four threads: the same numbers each time, and no growth of memory.

    pytest -m slow -s tests/dpu/stand_in/test_many_runs.py

prints the figures of 10,000 runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dpu

GROWTH_MB = 8  # allowed between the memory after the first runs and the peak at the end

SCRIPT = """
import hashlib, sys, threading
import numpy as np
import vart, xir

model, runs = sys.argv[1], int(sys.argv[2])
part = [s for s in xir.Graph.deserialize(model).get_root_subgraph().toposort_child_subgraph()
        if s.get_attr("device") == "DPU"][0]
pictures = np.random.default_rng(9).integers(-128, 128, (7, 1, 16, 16, 3), dtype=np.int8)
seen = [[set() for _ in pictures] for _ in range(4)]

def work(number, count):
    runner = vart.Runner.create_runner(part, "run")
    for i in range(count):
        outs = [np.empty(tuple(t.dims), np.int8) for t in runner.get_output_tensors()]
        assert runner.wait(runner.execute_async([pictures[i % 7]], outs)) == 0
        seen[number][i % 7].add(hashlib.sha256(b"".join(out.tobytes() for out in outs)).hexdigest())

def all_threads(count):
    threads = [threading.Thread(target=work, args=(number, count)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

def peak_kb():  # VmHWM: ru_maxrss would count the parent's memory, which a forked child starts with
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])

all_threads(25)
before = peak_kb()
all_threads(runs // 4)
outputs = [set.union(*(of_thread[i] for of_thread in seen)) for i in range(7)]
print(before / 1024, peak_kb() / 1024, max(map(len, outputs)), len(set.union(*outputs)))
"""


@pytest.mark.parametrize("runs", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_runs(model: Path, tmp_path: Path, runs: int) -> None:
    """Every picture gives one output, whichever thread, runner and core; peak memory stays where it was."""
    (tmp_path / "many.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "many.py"), str(model), str(runs)],
        env={**os.environ, "PYTHONPATH": str(dpu.stand_in_path()), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    before, after, outputs_a_picture, outputs = (float(word) for word in done.stdout.split())
    print(f"\n{runs} runs, 4 threads: peak {before:.1f} MB after 100 runs, {after:.1f} MB at the end")
    assert (outputs_a_picture, outputs) == (1, 7)
    assert after - before < GROWTH_MB
