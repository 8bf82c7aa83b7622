"""What the board has: Python 3.9, OpenCV 4.5, nothing but the standard library, numpy and cv2."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest

import board_app

ROOT = Path(board_app.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What `dir(cv2)` lists in opencv-python-headless 4.5.1.48, less whole families that the application has no use for.
IN_OPENCV_4_5 = set((Path(__file__).parent / "opencv_4_5_1_names.txt").read_text().split())


def trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(), str(path), feature_version=(3, 9))) for path in FILES]


def test_everything_parses_as_python_3_9() -> None:
    """No file needs a newer grammar (match, parenthesised with, except*), and all postpone annotations."""
    for path, tree in trees():
        assert not any(isinstance(node, ast.Match) for node in ast.walk(tree)), path
        futures = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
        assert futures or not any(isinstance(n, (ast.FunctionDef, ast.ClassDef)) for n in tree.body), path


def test_no_newer_library_features() -> None:
    """slots, kw_only and strict, which 3.9 does not know, are not passed anywhere."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword):
                assert node.arg not in ("slots", "kw_only", "strict"), f"{path}:{node.value.lineno} {node.arg}"


def test_imports() -> None:
    """Only the standard library, numpy, cv2 and board_app are imported; xir and vart by dpu_runner alone."""
    allowed = sys.stdlib_module_names | {"numpy", "cv2", "board_app"}
    for path, tree in trees():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0 and node.module, path
                names = [node.module]
            for name in names:
                known = allowed | ({"xir", "vart"} if path.name == "dpu_runner.py" else set())
                assert name.split(".")[0] in known, f"{path} imports {name}"


def test_opencv_names() -> None:
    """Every name of cv2 that is used is one that OpenCV 4.5 has."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cv2":
                assert node.attr in IN_OPENCV_4_5, f"{path}:{node.lineno} cv2.{node.attr}: not in OpenCV 4.5.1"


def test_version_is_the_distribution_s() -> None:
    """The application and the distribution carry one version."""
    pyproject = ROOT.parent / "pyproject.toml"
    if not pyproject.is_file():
        pytest.skip("installed without its pyproject.toml")
    assert board_app.__version__ == tomllib.loads(pyproject.read_text())["project"]["version"]
