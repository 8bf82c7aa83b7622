"""AMD's compiler driven in the container, on its stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import dpu
from compress.vitis.compiler import compile_graph
from compress.vitis.job import Job, VitisError
from compress.vitis.testing import FAULT, container_environment
from dpu import xmodel
from dpu.architecture import ISA0_B4096_BG2, ISA1_B4096_VAI25, ISA1_B4096_VAI30
from dpu.summary import dpu_fingerprint
from dpu.testing import QuantisedGraph


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job with a small quantised graph, and the stand-ins in front."""
    monkeypatch.setenv("PATH", container_environment(tmp_path / "programs")["PATH"])
    monkeypatch.syspath_prepend(str(dpu.stand_in_path()))
    rng = np.random.default_rng(2)
    net = QuantisedGraph()
    x = net.random_conv("c0", net.data("input", (1, 16, 16, 3), 6), 8, 3, rng, 4)
    net.random_conv("head", x, 14, 1, rng, 4, activation=None)
    (tmp_path / "input").mkdir()
    xmodel.save(net.graph(), tmp_path / "input" / "quantised.xmodel")
    return Job(tmp_path)


@pytest.mark.parametrize("fingerprint", [ISA1_B4096_VAI25, ISA1_B4096_VAI30])
def test_compiles_for_exactly_one_dpu(job: Job, fingerprint: int) -> None:
    """The file is for the DPU asked for, by its fingerprint and not by a target's name, which two of them share."""
    written = compile_graph(job, job.input("quantised.xmodel"), fingerprint)
    assert dpu_fingerprint(xmodel.load(written)) == fingerprint
    assert json.loads(job.output("arch.json").read_text()) == {"fingerprint": f"0x{fingerprint:x}"}


@pytest.mark.parametrize(
    ("fault", "fingerprint", "expected"),
    [
        ("no_front_end", ISA1_B4096_VAI30, "exit code 0 but no file. It printed 'NO FRONT END SPECIFIED'"),
        ("unregistered", ISA1_B4096_VAI30, "It printed 'TARGET_FACTORY_UNREGISTERED_TARGET'"),
        ("", ISA0_B4096_BG2, "A DPU of ISA 0 needs Vitis AI 2.0"),
        ("crash", ISA1_B4096_VAI30, "found exit code 134. Its last line: F1124"),
        ("two_subgraphs", ISA1_B4096_VAI30, "expected one DPU subgraph in the compiled model, found 2 (subgraph_c0_0"),
        ("other_fingerprint", ISA1_B4096_VAI30, "DPU 0x101000056010407, found that vai_c_xir compiled one for 0x1010"),
    ],
)
def test_failures_by_text_and_file(
    job: Job, monkeypatch: pytest.MonkeyPatch, fault: str, fingerprint: int, expected: str
) -> None:
    """What the compiler prints and writes decides, whatever its exit code; nothing passes for compiled."""
    job.output("compiled.xmodel").write_bytes(b"of an earlier attempt")
    monkeypatch.setenv(FAULT, fault)
    with pytest.raises(VitisError) as caught:
        compile_graph(job, job.input("quantised.xmodel"), fingerprint)
    assert expected in str(caught.value)
    assert not job.output("compiled.xmodel").exists()


def test_outside_the_container(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the compiler the error says where it is."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(VitisError, match="Run this in Vitis AI's container"):
        compile_graph(job, job.input("quantised.xmodel"), ISA1_B4096_VAI30)
