"""What runs in the container keeps to its Python 3.8."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest
import vermin

ROOT = Path(__file__).resolve().parents[3]
FLOOR = (3, 8)
PACKAGES = ("board_app", "bench", "compress", "deploy", "dpu", "roadslim")


def imported_names(path: Path) -> set[str]:
    """Every module that a file may import, wherever in it; `from a import b` gives a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def file_of(name: str) -> Path | None:
    """The file of one of our modules."""
    if name.split(".")[0] not in PACKAGES:
        return None
    base = ROOT.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def import_closure() -> list[Path]:
    """Every file of ours that `python -m compress.vitis` may load."""
    waiting = {f"compress.vitis.{name}" for name in ("__main__", "job", "quantizer", "compiler")}
    seen: set[str] = set()
    found: set[Path] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        path = file_of(name)
        if path is None:
            continue
        found.add(path)
        parents = {name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)}
        waiting |= (imported_names(path) | parents) - seen
    return sorted(found)


class RuntimeTypes(ast.NodeVisitor):
    """Finds `list[int]` and `A | B` of types where Python evaluates them, which vermin does not see."""

    def __init__(self) -> None:
        self.lines: list[int] = []

    def visit_arg(self, node: ast.arg) -> None:
        """A parameter's annotation is not evaluated."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Nor is a variable's; its value is."""
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Nor is what a function returns."""
        for part in (node.args, *node.decorator_list, *node.body):
            self.visit(part)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """`list[int]` and its kin."""
        if isinstance(node.value, ast.Name) and node.value.id in ("dict", "frozenset", "list", "set", "tuple", "type"):
            self.lines.append(node.lineno)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """`str | Path`, `{**a} | {**b}`; of integers it would be allowed, and is not needed."""
        if isinstance(node.op, ast.BitOr):
            self.lines.append(node.lineno)
        self.generic_visit(node)


def needed_version(text: str) -> tuple[int, int]:
    """The oldest Python 3 that runs it."""
    try:
        tree = ast.parse(text, feature_version=FLOOR)
    except SyntaxError:
        return 3, 10
    types = RuntimeTypes()
    types.visit(tree)
    if types.lines:
        return 3, 10
    config = vermin.Config()
    config.set_eval_annotations("from __future__ import annotations" not in text)
    version = vermin.visit(text, config).minimum_versions()[1]
    assert version is not None, "a Python 2 program"
    return version[0], version[1]


def name_of(path: Path) -> str:
    """As tests are called by."""
    return str(path.relative_to(ROOT))


def test_the_closure_is_small() -> None:
    """The container loads the network's code and nothing of the software DPU, the stages or the host's tools."""
    folders = {name_of(path.parent) for path in import_closure()}
    assert folders == {"board_app", "board_app/core", "compress", "compress/darknet", "compress/vitis"}


@pytest.mark.parametrize("path", import_closure(), ids=name_of)
def test_parses_as_python_3_8(path: Path) -> None:
    """Grammar, library and types are those of 3.8, in annotations too where Python evaluates them."""
    assert needed_version(path.read_text(encoding="utf-8")) <= FLOOR


@pytest.mark.parametrize(
    "line",
    [
        "list(zip([1], [2], strict=True))",
        "T = list[int]",
        "T = str | int",
        "def f(x: list[int]): pass",
        "'a'.removeprefix('a')",
        "match 1:\n    case 1: pass",
        "from functools import cache",
    ],
)
def test_newer_python_is_noticed(line: str) -> None:
    """The check itself sees what 3.8 does not have."""
    assert needed_version(line) > FLOOR


def test_imports_on_a_real_python_3_8() -> None:
    """Where a Python 3.8 is installed, it compiles and imports what needs no torch."""
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python3.8"))
    python = str(pyenv[-1]) if pyenv else shutil.which("python3.8")
    if python is None:
        pytest.skip("needs a python3.8")
    code = (
        "import sys; [compile(open(path).read(), path, 'exec') for path in sys.argv[1:]]; "
        "import compress.vitis.__main__, compress.vitis.compiler, compress.darknet.cfg"
    )
    command = [python, "-B", "-c", code, *map(str, import_closure())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
