"""A stand-in for AMD's `vitis_ai_library` Python module: whole graphs, with what stands around the DPU on the CPU.

The DPU subgraphs run as `vart`'s runners do, the CPU subgraphs in numpy.
"""

from __future__ import annotations

from typing import Any

import vart
import xir
from vart.sessions import graph_session

__all__ = ["GraphRunner"]


class GraphRunner:
    """Makes runners of whole graphs."""

    @staticmethod
    def create_graph_runner(graph: xir.Graph) -> Any:
        """A vart.RunnerExt for a compiled (or, here, quantised) graph.

        Inputs stand in the order of the graph's subgraphs, outputs by name. An operator type that nobody knows raises
        UnsupportedModelError.
        """
        return vart.RunnerExt(graph_session(graph))
