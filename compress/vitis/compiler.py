"""AMD's compiler (vai_c_xir) on a quantised graph, and the check of what it wrote.

Its exit code says little: it may be 0 where nothing was compiled, so its text and its file decide.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import List, Tuple

from compress.vitis.job import Job, VitisError

COMPILER = "vai_c_xir"
# What it prints -> what that means and what to do.
KNOWN_ERRORS: Tuple[Tuple[str, str], ...] = (
    (
        "NO FRONT END SPECIFIED",
        "The compiler takes no such arch.json: this Vitis AI does not know the fingerprint. Check it against "
        "`xdputil query` on the board; docs/vitis.md has the versions.",
    ),
    (
        "TARGET_FACTORY_UNREGISTERED_TARGET",
        "This Vitis AI does not know the DPU. A DPU of ISA 0 needs Vitis AI 2.0; docs/vitis.md has the versions.",
    ),
    (
        "TARGET_FACTORY_INVALID",
        "The fingerprint is not that of a DPU. Check it against `xdputil query` on the board.",
    ),
    ("Unable to open file", "A file of the job cannot be read in the container. Check its permissions."),
)


def compile_graph(job: Job, quantised: Path, fingerprint: int) -> Path:
    """Compile a quantised graph for one DPU: output/compiled.xmodel, with exactly one DPU subgraph.

    Args:
        job: where the compiler works.
        quantised: a `*_int.xmodel`.
        fingerprint: of the DPU, as `xdputil query` prints it.
    Raises:
        VitisError: no compiler, nothing compiled, several DPU subgraphs, or another DPU's.
    """
    compiled, arch = job.output("compiled.xmodel"), job.output("arch.json")
    written = job.output("compiler/compiled.xmodel")
    for leftover in (compiled, written):
        if leftover.exists():
            leftover.unlink()
    arch.write_text(json.dumps({"fingerprint": f"0x{fingerprint:x}"}) + "\n", encoding="utf-8")
    folder = written.parent
    lines, exit_code = _run([COMPILER, "-x", str(quantised), "-a", str(arch), "-o", str(folder), "-n", "compiled"])
    if exit_code != 0 or not written.is_file():
        found = f"exit code {exit_code}" if exit_code else "exit code 0 but no file"
        raise VitisError(f"expected {COMPILER} to write a compiled model, found {found}. {_advice(lines)}")
    check_compiled(written, fingerprint)
    shutil.move(str(written), str(compiled))
    return compiled


def check_compiled(path: Path, fingerprint: int) -> None:
    """Raise VitisError unless the file has exactly one DPU subgraph and it is for the DPU with that fingerprint."""
    import xir

    root = xir.Graph.deserialize(str(path)).get_root_subgraph()
    children = [] if root.is_leaf else root.toposort_child_subgraph()
    dpu = [part for part in children if part.has_attr("device") and part.get_attr("device").upper() == "DPU"]
    if len(dpu) != 1:
        names = ", ".join(part.get_name() for part in dpu)
        raise VitisError(
            f"expected one DPU subgraph in the compiled model, found {len(dpu)}{f' ({names})' if names else ''}. "
            "An operator between them falls to the CPU: change the network so that the DPU can run it whole. "
            "The compiler's log says which operator."
        )
    found = dpu[0].get_attr("dpu_fingerprint") if dpu[0].has_attr("dpu_fingerprint") else 0
    if found != fingerprint:
        raise VitisError(
            f"expected a model for DPU 0x{fingerprint:x}, found that {COMPILER} compiled one for 0x{found:x}. "
            "It did not take our arch.json: use the image of the Vitis AI version in docs/vitis.md."
        )


def _run(command: List[str]) -> Tuple[List[str], int]:
    """Run the compiler, passing on what it prints; all its lines and its exit code."""
    print("$ " + " ".join(command), flush=True)
    lines = []
    try:
        with subprocess.Popen(  # noqa: S603  (our own words)
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line)
    except FileNotFoundError as error:
        raise VitisError(
            f"expected the compiler {COMPILER}, found none. Run this in Vitis AI's container, in its conda "
            "environment vitis-ai-pytorch: `roadslim compile` does."
        ) from error
    return lines, process.returncode


def _advice(lines: List[str]) -> str:
    text = "".join(lines)
    for printed, meaning in KNOWN_ERRORS:
        if printed in text:
            return f"It printed '{printed}'. {meaning}"
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"Its last line: {last}. The whole log tells more."
