"""Make small integer graphs by hand, in the form of AMD's compiled files, and run them on both engines."""

from __future__ import annotations

from typing import Any

import numpy as np

from dpu.executor import Executor
from dpu.graph import Attr, Graph, Op, Subgraph, Tensor


class IntegerGraph:
    """Builds one DPU subgraph operator by operator; each method returns the operator's name.

    x = net.data("x", (1, 8, 8, 3), fix_point=5)
    net.op("pool", "pool-fix", (1, 4, 4, 3), 5, [x], type="MAX", kernel=(2, 2), stride=(2, 2))
    """

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.inside: list[str] = []
        self.user: list[Subgraph] = []

    def data(self, name: str, shape: tuple[int, ...], fix_point: int) -> str:
        """An int8 input of the subgraph."""
        self.ops.append(Op(name, "data-fix", {}, {}, _tensor(name, shape, fix_point)))
        self.user.append(Subgraph(f"user_{name}", (name,), {"device": Attr("string", "USER")}))
        return name

    def const(self, name: str, integers: np.ndarray, fix_point: int) -> str:
        """An int8 constant."""
        attrs = {"data": Attr("bytes", integers.astype(np.int8).tobytes())}
        return self._inside(Op(name, "const-fix", attrs, {}, _tensor(name, integers.shape, fix_point)))

    def op(
        self,
        name: str,
        kind: str,
        becomes: tuple[int, ...],
        fix_point: int,
        inputs: list[str] | dict[str, list[str]],
        **attributes: Any,
    ) -> str:
        """Any operator and its tensor's shape; whole numbers become int32, tuples of floats float_vec, and so on."""
        read = inputs if isinstance(inputs, dict) else {"input": inputs}
        attrs = {key: _attr(value) for key, value in attributes.items()}
        return self._inside(Op(name, kind, attrs, read, _tensor(name, becomes, fix_point)))

    def graph(self) -> Graph:
        """The graph so far; what nothing reads is an output."""
        dpu = Subgraph("subgraph_dpu", tuple(self.inside), {"device": Attr("string", "DPU")})
        return Graph("net", list(self.ops), Subgraph("root", (), {}, (*self.user, dpu)))

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every tensor, by both engines, which must agree. Raises AssertionError with the tensor's name."""
        graph = self.graph()
        expected = Executor(graph, engine="numpy").run(inputs, "all")
        found = Executor(graph, engine="onnxruntime").run(inputs, "all")
        for name, array in expected.items():
            assert array.dtype == found[name].dtype == np.int8, name
            assert np.array_equal(array, found[name]), name
        return expected

    def _inside(self, op: Op) -> str:
        self.ops.append(op)
        self.inside.append(op.name)
        return op.name


def _tensor(name: str, shape: tuple[int, ...], fix_point: int) -> Tensor:
    return Tensor(name, tuple(shape), "xint8", {"fix_point": Attr("int32", fix_point)})


def _attr(value: Any) -> Attr:
    first = value[0] if isinstance(value, tuple) and value else value
    kinds = {bool: "bool", int: "int32", float: "float", str: "string", bytes: "bytes"}
    kind = kinds.get(type(first), "int32")
    return Attr(f"{kind}_vec" if isinstance(value, tuple) else kind, value)
