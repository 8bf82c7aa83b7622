"""The software DPU: run a model's DPU subgraph on int8 tensors, with exactly the integers of the DPU's rules.

Two engines give equal integers: ONNX Runtime (fast, proven exact) and plain numpy (where ONNX Runtime cannot be
imported, and as the other's oracle).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np

from dpu.errors import RunError, UnsupportedModelError
from dpu.graph import Graph, Subgraph
from dpu.lowering import is_quantised, lower
from dpu.numpy_engine import NumpyEngine
from dpu.program import Program, Value
from dpu.program_reader import program_of

EngineName = Literal["auto", "onnxruntime", "numpy"]

_log = logging.getLogger(__name__)


class Engine(Protocol):
    """What runs a program: NumpyEngine or OnnxEngine."""

    name: str

    def run(self, inputs: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """The named int8 tensors for int8 inputs by name."""

    def prepare(self, names: tuple[str, ...]) -> None:
        """Do now what the first run for these tensors would do."""


class Executor:
    """One DPU subgraph, made ready once and run many times; threads may call `run` at the same time.

    Args:
        graph: a quantised graph (it is lowered here) or an integer one.
        subgraph: which DPU subgraph; may be left out where there is exactly one.
        engine: `auto` takes ONNX Runtime where it can be imported, else numpy.
        threads: threads inside one run (ONNX Runtime only).
    Raises:
        UnsupportedModelError: an operator this software DPU does not know (named), or no single DPU subgraph.
        XmodelError: shapes or constants that contradict each other.
    """

    def __init__(
        self, graph: Graph, subgraph: Subgraph | None = None, engine: EngineName = "auto", threads: int = 1
    ) -> None:
        self.graph = lower(graph) if is_quantised(graph) else graph
        self.subgraph = subgraph or only_dpu_subgraph(self.graph)
        self.program = program_of(self.graph, self.subgraph)
        self._engine = _engine(engine, self.program, threads)
        self.inputs: tuple[Value, ...] = tuple(sorted(self.program.inputs, key=lambda value: value.name))
        self.outputs: tuple[Value, ...] = tuple(
            Value(name, value.shape, value.fix_point) for name, value in sorted(self.program.outputs.items())
        )

    @property
    def engine(self) -> str:
        """`onnxruntime` or `numpy`: what runs."""
        return self._engine.name

    def prepare(self) -> None:
        """Make the first `run` as fast as the later ones."""
        self._engine.prepare(tuple(self.program.outputs))

    def tensors(self) -> dict[str, Value]:
        """Every int8 tensor of the subgraph by name, inputs first; what `run(..., tensors="all")` gives."""
        inner = {value.name for value in self.program.outputs.values()}
        return {
            name: Value(name, value.shape, value.fix_point)
            for name, value in self.program.values().items()
            if name in self.program.outputs or name not in inner
        }

    def run(
        self, inputs: Mapping[str, np.ndarray], tensors: Literal["outputs", "all"] = "outputs"
    ) -> dict[str, np.ndarray]:
        """The int8 outputs (or every tensor) by name.

        Args:
            inputs: int8 arrays of the inputs' shapes (pictures: 1, H, W, C) by tensor name, one for each input.
        Raises:
            RunError: a missing, unknown or misshapen input, or one that is not int8.
        """
        self._check(inputs)
        names = tuple(self.program.outputs) if tensors == "outputs" else tuple(self.tensors())
        return self._engine.run(inputs, names)

    def _check(self, inputs: Mapping[str, np.ndarray]) -> None:
        expected = {value.name: value.shape for value in self.inputs}
        if set(inputs) != set(expected):
            raise RunError(f"expected inputs {sorted(expected)}, found {sorted(inputs)}. Name each input's tensor.")
        for name, array in inputs.items():
            if array.dtype != np.int8 or array.shape != expected[name]:
                raise RunError(
                    f"input {name!r}: expected int8 of shape {list(expected[name])}, found {array.dtype} of shape "
                    f"{list(array.shape)}. Quantise and reshape it first."
                )


def only_dpu_subgraph(graph: Graph) -> Subgraph:
    """The graph's one DPU subgraph. Raises UnsupportedModelError where there is none or more than one."""
    found = graph.subgraphs("DPU")
    if len(found) != 1:
        raise UnsupportedModelError(
            f"graph {graph.name!r}: expected one DPU subgraph, found {len(found)}"
            + (f" ({', '.join(repr(subgraph.name) for subgraph in found)})" if found else "")
            + ". Operators between them run on the CPU: change the network so that the DPU can run it whole."
        )
    return found[0]


def _engine(name: EngineName, program: Program, threads: int) -> Engine:
    if name == "numpy":
        return NumpyEngine(program)
    try:
        from dpu.onnx_engine import OnnxEngine
    except ImportError as error:
        if name == "onnxruntime":
            raise RunError(
                f"engine onnxruntime: {error}. Install onnx and onnxruntime, or use engine numpy."
            ) from error
        _log.info("onnxruntime cannot be imported (%s): the software DPU runs on numpy, exact but slow", error)
        return NumpyEngine(program)
    return OnnxEngine(program, threads)
