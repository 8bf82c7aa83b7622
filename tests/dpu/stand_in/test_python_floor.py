"""The stand-ins and what they load run on the Python of a board: 3.9, with numpy and protobuf."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dpu

LIST_MODULES = """
import os, sys
for name in ("onnx", "onnxruntime", "torch", "cv2"):
    sys.modules[name] = None
import vitis_ai_library, vart, xir
root = xir.Graph.deserialize(sys.argv[1]).get_root_subgraph()
vart.Runner.create_runner([s for s in root.toposort_child_subgraph() if s.get_attr("device") == "DPU"][0], "run")
import dpu.graph_runner
for name, module in sorted(sys.modules.items()):
    if name.split(".")[0] in ("dpu", "xir", "vart", "vitis_ai_library") and getattr(module, "__file__", None):
        print(module.__file__)
"""


@pytest.fixture
def files(model: Path) -> list[Path]:
    """Every file of this project that the stand-ins load, the predicted pace and CPU subgraphs included."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, str(model)],
        env={**os.environ, "PYTHONPATH": str(dpu.stand_in_path()), "ROADSLIM_DPU_PACE": "predicted"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.splitlines() if not line.endswith("_pb2.py")]


def test_no_file_needs_a_newer_python(files: list[Path]) -> None:
    """The grammar is that of 3.9, annotations are postponed, and slots, kw_only and strict are not passed."""
    assert len(files) > 30
    for path in files:
        tree = ast.parse(path.read_text(), str(path), feature_version=(3, 9))
        futures = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
        assert futures or not any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in tree.body), path
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Match), path
            if isinstance(node, ast.keyword):
                assert node.arg not in ("slots", "kw_only", "strict"), f"{path}:{node.value.lineno} {node.arg}"
