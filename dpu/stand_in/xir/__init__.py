"""A stand-in for AMD's `xir` Python module: models read, built and written, with the real one's API, types and errors.

What aborts the real process (a glog FATAL) raises RunError here and says so; what raises there raises here. Not there:
OpTemplate and GraphTemplate, which nothing in the real module makes either.
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import dpu  # noqa: F401
except ImportError:
    # A user puts only .../dpu/stand_in on PYTHONPATH, but the stand-ins work with the package `dpu` above it: its
    # parent goes to the END of the path, so that nothing of the user's is hidden by what lies beside it.
    sys.path.append(str(Path(__file__).resolve().parents[3]))

from .graph import Graph
from .op import Op
from .subgraph import Subgraph
from .tensor import DataType, Tensor

__all__ = ["DataType", "Graph", "Op", "Subgraph", "Tensor"]
