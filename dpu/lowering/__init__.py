"""From a quantised graph (float operators with `fix` operators between) to the integer graph that a compiler makes.

The result has the form of AMD's compiled files less the machine code: `data-fix` alone in USER subgraphs, then DPU
subgraphs with `upload`, `conv2d-fix` (activation fused), `pool-fix`, `eltwise-fix`, ... and `download`, and between
them CPU subgraphs with what the DPU has not, in float with `fix2float` and `float2fix` at the borders. Fix points are
attributes of the tensors, weights are int8 in `const-fix`.

A value without a fix of its own is rounded where its position is set: a convolution that only feeds a concat is
quantised straight at the concat's position, a pool or an upsample stays on its input's grid.

`groups` takes the quantised graph apart, `forms`, `window_forms` and `fully_connected` know what an operator becomes,
`placement` where it runs, `writer` makes the new graph and `levels` its subgraphs.
"""

from __future__ import annotations

from dpu.graph import Graph
from dpu.lowering.groups import grouped
from dpu.lowering.placement import Placement
from dpu.lowering.writer import write

__all__ = ["is_quantised", "lower"]


def is_quantised(graph: Graph) -> bool:
    """Whether a graph is a quantiser's output (float operators and `fix`), not yet compiled."""
    types = {op.type for op in graph.ops}
    return "fix" in types and not any(kind.endswith("-fix") for kind in types) and not graph.subgraphs("DPU")


def lower(graph: Graph) -> Graph:
    """The integer graph of a quantised one. Raises UnsupportedModelError, naming the operator, or XmodelError."""
    return write(Placement(grouped(graph)))
