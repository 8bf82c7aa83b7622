"""What runs behind a runner: a DPU subgraph on a core, a CPU subgraph, or a whole graph."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xir

from dpu.errors import UnsupportedModelError
from dpu.graph import Attr, Graph, Op, Subgraph

from .aborts import aborts
from .cores import Core, check_fingerprint, held_s, next_core

Arrays = Mapping[str, np.ndarray]  # by tensor name


@dataclass(frozen=True)
class Session:
    """Tensors (xir.Tensor) in the order of a runner's buffers, and how to run.

    `converts`: whether buffers may be float32 for int8 tensors, as on the DPU.
    """

    inputs: list[Any]
    outputs: list[Any]
    run: Callable[[Arrays], Arrays]
    converts: bool = True
    core: Core | None = None
    engine: str = "numpy"


def session_of(subgraph: xir.Subgraph, mode: str) -> Session:
    """The session of a DPU or CPU subgraph. Raises UnsupportedModelError or RunError where the real vart aborts."""
    found = subgraph.get_attr("runner") if subgraph.has_attr("runner") else {}
    runners = found if isinstance(found, dict) else {}
    if mode not in runners:
        raise aborts(
            f"subgraph {subgraph.get_name()!r} has no runner for mode {mode!r}, only {sorted(runners)}",
            'Take a DPU or CPU subgraph and mode "run".',
        )
    if mode != "run":
        raise aborts(f"mode {mode!r} needs {runners[mode]}, which is not there, as on a board", 'Take mode "run".')
    device = str(subgraph.get_attr("device")).upper() if subgraph.has_attr("device") else ""
    if device == "DPU":
        return _dpu_session(subgraph)
    if device == "CPU":
        return _cpu_session(subgraph)
    raise UnsupportedModelError(
        f"subgraph {subgraph.get_name()!r}: expected device DPU or CPU, found {device!r}. Choose another subgraph."
    )


def graph_session(graph: xir.Graph) -> Session:
    """The session of a whole graph: its subgraphs one after another."""
    children = graph.get_root_subgraph().toposort_child_subgraph()
    if not children:
        raise aborts(f"graph {graph.get_name()!r} has no subgraphs to run", "Compile it first.")
    sessions, inputs = [], []
    for child in children:
        if child.has_attr("runner"):
            sessions.append(session_of(child, "run"))
        else:
            inputs += _by_name(child.get_output_tensors())

    def run(arrays: Arrays) -> Arrays:
        known = dict(arrays)
        for session in sessions:
            known.update(session.run({tensor.name: known[tensor.name] for tensor in session.inputs}))
        return known

    return Session(inputs, _by_name(graph.get_root_subgraph().get_output_tensors()), run)


def _dpu_session(subgraph: xir.Subgraph) -> Session:
    graph, part = subgraph.as_written()
    check_fingerprint(part)
    executor = subgraph.executor()
    executor.prepare()
    core, held = next_core(), held_s(graph, part)

    def run(arrays: Arrays) -> Arrays:
        return core.run(lambda: executor.run(arrays), held)

    tensors = {tensor.name: tensor for tensor in subgraph.get_graph().get_tensors()}
    inputs, outputs = ([tensors[value.name] for value in values] for values in (executor.inputs, executor.outputs))
    return Session(inputs, outputs, run, core=core, engine=executor.engine)


def _cpu_session(subgraph: xir.Subgraph) -> Session:
    from dpu.graph_runner import GraphRunner

    runner = GraphRunner(_alone(*subgraph.as_written()), ops_folder=_custom_operators())
    inputs, outputs = (_by_name(t) for t in (subgraph.get_input_tensors(), subgraph.get_output_tensors()))
    return Session(inputs, outputs, runner.run, converts=False)


def _custom_operators() -> Path | None:
    """The folder of the package `vart_op_imp` on the Python path, where the real CPU runner, too, looks for TYPE.py."""
    found = importlib.util.find_spec("vart_op_imp")
    folders = found.submodule_search_locations if found is not None else None
    return Path(next(iter(folders))) if folders else None


def _alone(graph: Graph, part: Subgraph) -> Graph:
    """A graph of one subgraph, with inputs in place of what it reads from others."""
    ops, inside = graph.op_by_name(), set(part.all_op_names())
    sources = {name for own in inside for name in ops[own].input_names() if name not in inside}
    given = [_data(op) for op in graph.ops if op.name in sources]
    user = tuple(Subgraph(f"subgraph_{op.name}", (op.name,), {"device": Attr("string", "USER")}) for op in given)
    kept = [op for op in graph.ops if op.name in inside]
    return Graph(graph.name, [*given, *kept], Subgraph("root", children=(*user, part)))


def _data(op: Op) -> Op:
    attrs = {"shape": Attr("int32_vec", op.output.shape), "data_type": Attr("string", op.output.dtype)}
    return Op(op.name, "data-fix" if op.output.dtype == "xint8" else "data", attrs, {}, op.output)


def _by_name(tensors: set[Any]) -> list[Any]:
    return sorted(tensors, key=lambda tensor: str(tensor.name))
