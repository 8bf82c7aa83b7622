"""The operators that run on the CPU around the DPU subgraphs, in numpy.

One file per family; each has a table from AMD's operator type to a function of the operator and its float32 inputs by
argument name. Values are float32 as in AMD's public CPU code; sums, means and functions are computed in float64 and
rounded once, so the last bits of a long float32 sum may differ from AMD's.
"""

from __future__ import annotations

from dpu.cpu_ops import conversion, elementwise, reduction, shape, window
from dpu.cpu_ops.arguments import Arguments, CpuOperator

__all__ = ["OPERATORS", "Arguments", "CpuOperator"]

OPERATORS: dict[str, CpuOperator] = {
    **conversion.OPERATORS,
    **elementwise.OPERATORS,
    **reduction.OPERATORS,
    **shape.OPERATORS,
    **window.OPERATORS,
}
