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

# The names of cv2 that board_app may use; each was looked up in OpenCV 4.5.1 (opencv-python-headless 4.5.1.48).
IN_OPENCV_4_5 = set(
    """
    BORDER_CONSTANT BORDER_REFLECT BORDER_REPLICATE CAP_ANY CAP_PROP_BUFFERSIZE CAP_PROP_FPS
    CAP_PROP_FRAME_COUNT CAP_PROP_FRAME_HEIGHT CAP_PROP_FRAME_WIDTH CAP_V4L2 COLOR_BGR2GRAY COLOR_BGR2HSV
    COLOR_BGR2RGB COLOR_HSV2BGR FILLED FONT_HERSHEY_DUPLEX FONT_HERSHEY_SIMPLEX GaussianBlur IMREAD_COLOR
    IMWRITE_JPEG_QUALITY INTER_AREA INTER_CUBIC INTER_LINEAR INTER_NEAREST LINE_8 LINE_AA LUT Subdiv2D
    VideoCapture VideoWriter addWeighted bitwise_and bitwise_not bitwise_or blur boundingRect circle convexHull
    cvtColor dilate ellipse erode error fillConvexPoly fillPoly filter2D flip getPerspectiveTransform
    getTextSize imdecode imencode line perspectiveTransform polylines putText rectangle remap resize
    setNumThreads warpAffine warpPerspective
    """.split()
)


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
                assert node.attr in IN_OPENCV_4_5, f"{path}:{node.lineno} cv2.{node.attr}: look it up in 4.5 first"


def test_version_is_the_distribution_s() -> None:
    """The application and the distribution carry one version."""
    pyproject = ROOT.parent / "pyproject.toml"
    if not pyproject.is_file():
        pytest.skip("installed without its pyproject.toml")
    assert board_app.__version__ == tomllib.loads(pyproject.read_text())["project"]["version"]
