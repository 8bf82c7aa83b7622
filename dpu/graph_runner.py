"""A whole model: its DPU subgraphs on the software DPU, and what stands around them on the CPU, in order."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dpu.architecture import FAMILY
from dpu.arithmetic import quantise
from dpu.cpu_ops import OPERATORS, CpuOperator
from dpu.custom_operators import EXAMPLES, find_custom_operator
from dpu.errors import RunError, UnsupportedModelError, XmodelError
from dpu.executor import EngineName, Executor
from dpu.graph import Graph, Op, Subgraph, Tensor
from dpu.lowering import is_quantised, lower
from dpu.subgraph_order import in_running_order

_log = logging.getLogger(__name__)

_LARGEST_TENSOR = 2**28  # a gigabyte of float32
_INPUTS = ("data", "data-fix")
_CONSTANTS = ("const", "const-fix")
_Values = dict[str, np.ndarray]  # by operator name


@dataclass(frozen=True)
class HeldTensor:
    """A tensor that a run gives: `dtype` is `int8` or a float type; `fix_point` is that of an int8 tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    fix_point: int | None


@dataclass(frozen=True)
class _Stage:
    """A subgraph ready to run: from the values held so far to new ones, and to its tensors by name."""

    run: Callable[[_Values, bool], tuple[_Values, dict[str, np.ndarray]]]
    tensors: dict[str, HeldTensor]
    reads: frozenset[str]
    gives: frozenset[str]


class GraphRunner:
    """A model made ready once and run many times; threads may call `run` at the same time.

    Args:
        graph: a quantised graph (it is lowered here) or a compiled one for a DPUCZDX8G.
        engine, threads: as for `Executor`.
        ops_folder: a folder of custom operators (TYPE.py); they come before this package's own.
    Raises:
        UnsupportedModelError: a float model, another DPU family, or an operator that nobody knows (named).
        XmodelError: shapes or constants that contradict each other.
    """

    def __init__(
        self, graph: Graph, engine: EngineName = "auto", threads: int = 1, ops_folder: Path | None = None
    ) -> None:
        self.graph = lower(graph) if is_quantised(graph) else graph
        _check_kind(self.graph)
        if ops_folder is not None and not ops_folder.is_dir():
            raise RunError(f"expected a folder of custom operators, found none at {ops_folder}. Correct --ops.")
        self._folder = ops_folder
        self._ops = self.graph.op_by_name()
        self._readers = self.graph.consumers()
        self._engine: tuple[EngineName, int] = (engine, threads)
        self.executors: list[Executor] = []
        inputs = sorted((op for op in self.graph.ops if op.type in _INPUTS), key=lambda op: op.output.name)
        self._input_ops = {op.output.name: op for op in inputs}
        self.inputs: tuple[HeldTensor, ...] = tuple(held(op.output) for op in inputs)
        self._stages = [self._stage(part) for part in in_running_order(self.graph)]
        self._read_later = [
            frozenset().union(*(later.reads for later in self._stages[number:]))
            for number in range(1, len(self._stages) + 1)
        ]
        self._check_flow()
        self.outputs: tuple[str, ...] = self._output_names()

    @property
    def engine(self) -> str:
        """`onnxruntime` or `numpy`: what runs the DPU subgraphs."""
        return self.executors[0].engine

    def prepare(self) -> None:
        """Make the first `run` as fast as the later ones."""
        for executor in self.executors:
            executor.prepare()

    def tensors(self) -> dict[str, HeldTensor]:
        """Every tensor by name, inputs first; what `run(..., tensors="all")` gives."""
        known = {tensor.name: tensor for tensor in self.inputs}
        for stage in self._stages:
            known.update(stage.tensors)
        return known

    def run(
        self, inputs: Mapping[str, np.ndarray], tensors: Literal["outputs", "all"] = "outputs"
    ) -> dict[str, np.ndarray]:
        """Arrays by tensor name, int8 for int8 tensors, else float32.

        Args:
            inputs: one array for each input by tensor name. float32 for an int8 tensor is quantised at its position.
            tensors: `outputs` gives the outputs of every DPU subgraph and of the whole graph, `all` every tensor.
        Raises:
            RunError: a missing, unknown or misshapen input, a wrong type, NaN or infinity.
        """
        everything = tensors == "all"
        values = self._checked(inputs)
        found = {op.output.name: values[op.name] for op in self._input_ops.values()} if everything else {}
        for stage, later in zip(self._stages, self._read_later):  # noqa: B905 (runs on Python 3.9 too)
            new, named = stage.run(values, everything)
            values.update(new)
            found.update(named)
            values = {name: array for name, array in values.items() if name in later}
        return found if everything else {name: found[name] for name in self.outputs}

    def _checked(self, inputs: Mapping[str, np.ndarray]) -> _Values:
        if set(inputs) != set(self._input_ops):
            raise RunError(
                f"expected inputs {sorted(self._input_ops)}, found {sorted(inputs)}. Name each input's tensor."
            )
        return {self._input_ops[t.name].name: checked_input(t, inputs[t.name]) for t in self.inputs}

    def _stage(self, part: Subgraph) -> _Stage:
        inside = set(part.all_op_names())
        ops = [op for op in self.graph.ops if op.name in inside and op.type not in _INPUTS]
        made = {op.name for op in ops}
        reads = frozenset(name for op in ops for name in op.input_names() if name not in made)
        if part.device == "DPU":
            return self._dpu_stage(part, ops, reads)
        if part.device not in ("CPU", "USER"):
            raise UnsupportedModelError(
                f"subgraph {part.name!r}: expected device DPU, CPU or USER, found {part.device!r}. Compile it again."
            )
        return self._cpu_stage(part, ops, reads)

    def _dpu_stage(self, part: Subgraph, ops: list[Op], reads: frozenset[str]) -> _Stage:
        executor = Executor(self.graph, part, *self._engine)
        self.executors.append(executor)
        sources = {self._ops[name].output.name: name for name in reads}
        results = {op.output.name: op.name for op in ops}

        def run(values: _Values, everything: bool) -> tuple[_Values, dict[str, np.ndarray]]:
            given = {value.name: values[sources[value.name]] for value in executor.inputs}
            named = executor.run(given, "all" if everything else "outputs")
            return {results[value.name]: named[value.name] for value in executor.outputs}, named

        tensors = {v.name: HeldTensor(v.name, v.shape, "int8", v.fix_point) for v in executor.tensors().values()}
        return _Stage(run, tensors, reads, frozenset(results[value.name] for value in executor.outputs))

    def _cpu_stage(self, part: Subgraph, ops: list[Op], reads: frozenset[str]) -> _Stage:
        for op in ops:
            if math.prod(op.output.shape) > _LARGEST_TENSOR:
                raise XmodelError(
                    f"operator {op.name!r} ({op.type}): expected a tensor of at most {_LARGEST_TENSOR} values, found "
                    f"shape {list(op.output.shape)}. The file is damaged: export it again."
                )
        steps = [(op, self._implementation(part, op)) for op in ops]

        def run(values: _Values, everything: bool) -> tuple[_Values, dict[str, np.ndarray]]:
            new: _Values = {}
            for op, implementation in steps:
                arguments = {
                    argument: [new[name] if name in new else values[name] for name in names]
                    for argument, names in op.inputs.items()
                }
                new[op.name] = _shaped(op, implementation(op, arguments))
            return new, {op.output.name: new[op.name] for op, _ in steps if op.type not in _CONSTANTS}

        tensors = {op.output.name: held(op.output) for op, _ in steps if op.type not in _CONSTANTS}
        return _Stage(run, tensors, reads, frozenset(op.name for op in ops))

    def _implementation(self, part: Subgraph, op: Op) -> CpuOperator:
        own = find_custom_operator(self.graph, op, self._folder) if self._folder else None
        if own is not None:
            return own
        if op.type.endswith("-fix") and op.type not in OPERATORS:
            return _integer_operator(self.graph, op)
        found = OPERATORS.get(op.type) or find_custom_operator(self.graph, op, EXAMPLES)
        if found is None:
            raise UnsupportedModelError(
                f"operator {op.name!r} ({op.type}) in subgraph {part.name!r} on the CPU: expected a known type, found "
                f"{op.type!r}. Supply it: write {op.type}.py with a class {op.type} (AMD's vart_op_imp form) and name "
                "its folder with --ops FOLDER."
            )
        return found

    def _check_flow(self) -> None:
        """Refuse a damaged graph in which a part reads what no part before it gives."""
        given = {op.name for op in self._input_ops.values()}
        for stage in self._stages:
            if missing := sorted(stage.reads - given):
                raise XmodelError(f"nothing gives the values of {missing}. The file is damaged: export it again.")
            given |= stage.gives

    def _output_names(self) -> tuple[str, ...]:
        """Those of the DPU subgraphs, and what nothing reads or the graph returns of the CPU's."""
        of_dpu = [value.name for executor in self.executors for value in executor.outputs]
        inside = {name for part in self.graph.subgraphs("DPU") for name in part.all_op_names()}
        returned = set(self.graph.typed("return_ops", "string_vec", ())) - inside
        ends = [
            op.output.name
            for op in self.graph.ops
            if (op.name in returned or not self._readers[op.name]) and op.type not in (*_INPUTS, *_CONSTANTS)
        ]
        return tuple(dict.fromkeys((*of_dpu, *ends)))


def held(tensor: Tensor) -> HeldTensor:
    """What a run gives for a tensor of the graph."""
    dtype = "int8" if tensor.dtype == "xint8" else tensor.dtype
    return HeldTensor(tensor.name, tensor.shape, dtype, tensor.value("fix_point") if dtype == "int8" else None)


def _check_kind(graph: Graph) -> None:
    """Refuse what no compiler has placed."""
    if not graph.subgraphs("DPU") and not graph.subgraphs("CPU"):
        fixed = any(op.type == "fix" or op.type.endswith("-fix") for op in graph.ops)
        found = "a model without a DPU subgraph" if fixed else "a float model"
        raise UnsupportedModelError(
            f"graph {graph.name!r}: expected a quantised model (*_int.xmodel) or one compiled for a {FAMILY}, found "
            f"{found}, where int8 is needed. Quantise it first: roadslim quantize."
        )


def _integer_operator(graph: Graph, op: Op) -> CpuOperator:
    """An integer operator that the compiler left to the CPU: the same whole numbers as on the DPU."""
    ops = graph.op_by_name()
    constants = [name for name in op.input_names() if ops[name].type == "const-fix"]
    executor = Executor(graph, Subgraph(op.name, (*constants, op.name)), "numpy")
    names = [ops[name].output.name for name in op.inputs.get("input", []) if name not in constants]

    def run(op: Op, arguments: dict[str, list[np.ndarray]]) -> np.ndarray:
        return executor.run(dict(zip(names, arguments["input"])))[op.output.name]  # noqa: B905

    return run


def checked_input(tensor: HeldTensor, array: np.ndarray) -> np.ndarray:
    """An input as the model takes it: float32 for an int8 tensor is quantised at its position. Raises RunError."""
    layout = " (NHWC)" if len(tensor.shape) == 4 else ""
    allowed = ("int8", "float32") if tensor.dtype == "int8" else (tensor.dtype,)
    if str(array.dtype) not in allowed or array.shape != tensor.shape:
        raise RunError(
            f"input {tensor.name!r}: expected {' or '.join(allowed)} of shape {list(tensor.shape)}{layout}, found "
            f"{array.dtype} of shape {list(array.shape)}. Convert and reshape it first."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RunError(f"input {tensor.name!r}: expected finite numbers, found NaN or infinity. Correct the input.")
    if tensor.dtype == "int8" and array.dtype != np.int8:
        assert tensor.fix_point is not None
        return quantise(array, tensor.fix_point)
    return array


def _shaped(op: Op, array: np.ndarray) -> np.ndarray:
    if array.shape != op.output.shape:
        raise XmodelError(
            f"operator {op.name!r} ({op.type}) on the CPU: its tensor has shape {list(op.output.shape)}, but its "
            f"inputs and attributes give {list(array.shape)}. Export the model again."
        )
    return array
