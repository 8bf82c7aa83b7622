"""From a quantised graph (float operators with `fix` operators between) to the integer graph that a compiler makes.

The result has the form of AMD's compiled files less the machine code: `data-fix` alone in USER subgraphs, then one DPU
subgraph with `upload`, `conv2d-fix` (activation fused), `pool-fix`, `eltwise-fix`, `concat-fix`, `upsample-fix` and
`download`; fix points are attributes of the tensors, weights are int8 in `const-fix`. As in compiled files of PyTorch
models, an integer tensor is called like the output of the `fix` that gave its position; so the DPU's input tensor is
the input's `..._fix` and its output tensors are the heads' `..._fix`.

A value without a fix of its own is rounded where its position is set: a convolution that only feeds a concat is
quantised straight at the concat's position, a pool or an upsample stays on its input's grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from dpu.arithmetic import FIX_POINT_RANGE, LEAKY_SLOPE, half_up, saturate
from dpu.errors import UnsupportedModelError, XmodelError
from dpu.graph import Attr, Graph, Op, Subgraph, Tensor
from dpu.workload import workload

DPU_NAME = "DPUCZDX8G_ISA1_B4096"
RUNNER = {"ref": "libvart-cpu-runner.so", "run": "libvart-dpu-runner.so", "sim": "libvart-sim-runner.so"}

_ACTIVATIONS = {"relu": "RELU", "leaky-relu": "LEAKYRELU"}
_KEEPS_GRID = ("maxpool2d", "resize")  # their output is a choice of their input's values
_UNKNOWN = "its type is not known to this software DPU (a compiler would leave it to the CPU)"
_ON_DPU = ("conv2d", "add", "eltwise", "concat", *_KEEPS_GRID)


def is_quantised(graph: Graph) -> bool:
    """Whether a graph is a quantiser's output (float operators and `fix`), not yet compiled."""
    types = {op.type for op in graph.ops}
    return "fix" in types and not any(kind.endswith("-fix") for kind in types) and not graph.subgraphs("DPU")


def lower(graph: Graph) -> Graph:
    """The integer graph of a quantised one. Raises UnsupportedModelError, naming the operator, or XmodelError."""
    return _Lowering(graph).run()


@dataclass(frozen=True)
class _Position:
    fix_point: int
    tensor_name: str


class _Lowering:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.ops = graph.op_by_name()
        self.readers = graph.consumers()
        self.where = graph.root.name if graph.root else graph.name
        self.lowered: dict[str, Op] = {}  # name in the quantised graph -> operator that holds its integers
        self.constants: dict[str, Op] = {}
        self.user: list[Subgraph] = []
        self.leaves: list[Subgraph] = []
        self.result: dict[str, Op] = {}  # by name, in the order of the new graph

    def run(self) -> Graph:
        for op in self.graph.ops:
            if op.name in self.lowered or op.type == "const":
                continue
            if op.type == "data":
                self._data(op)
            elif op.type == "fix":
                self._fix(op)
            elif op.type in _ON_DPU:
                self._compute(op)
            else:
                self._refuse(op, _UNKNOWN)
        self._downloads()
        if not self.user or not any(leaf.op_names for leaf in self.leaves):
            raise UnsupportedModelError(
                f"graph {self.graph.name!r} has nothing for a DPU to do: expected quantised input and operators. "
                "Export it with the quantiser first."
            )
        total = {"workload": 0, "workload_on_arch": 0}
        for leaf in self.leaves:
            total = {key: total[key] + leaf.value(key) for key in total}
        sums = {key: Attr("uint64", value) for key, value in total.items()}
        first = next(op for op in self.result.values() if op.value("workload"))
        dpu = Subgraph(
            f"subgraph_{first.name}",
            (),
            {
                "device": Attr("string", "DPU"),
                "dpu_name": Attr("string", DPU_NAME),
                "runner": Attr("map_string_2_string", dict(RUNNER)),
                "children_topological_sort": Attr("string_vec", tuple(leaf.name for leaf in self.leaves)),
                **sums,
            },
            tuple(self.leaves),
        )
        root = Subgraph(self.where, (), sums, (*self.user, dpu))
        return Graph(self.graph.name, list(self.result.values()), root, dict(self.graph.attrs), self.graph.op_defs)

    def _refuse(self, op: Op, why: str) -> NoReturn:
        raise UnsupportedModelError(
            f"operator {op.name!r} ({op.type}) in subgraph {self.where!r}: {why}. "
            "Change the network so that the DPU can run it, and quantise it again."
        )

    def _position_of(self, fix: Op) -> _Position:
        width, signed, mode = fix.value("bit_width"), fix.value("if_signed"), fix.value("round_mode")
        if (width, signed, mode) != (8, True, "DPU_ROUND"):
            self._refuse(fix, f"expected 8 bits, signed, DPU_ROUND; found {width} bits, signed {signed}, {mode}")
        fix_point = fix.typed("fix_point", "int32")
        if fix_point not in FIX_POINT_RANGE:
            self._refuse(fix, f"it has fix point {fix_point}, expected one from -32 to 32")
        return _Position(fix_point, fix.output.name)

    def _emit(self, op: Op, *constants: Op, skip_code_gen: bool = False) -> Op:
        sources = op.inputs.get("input", [])
        work, on_arch = workload(op, self.result[sources[0]].output.shape if sources else ())
        counted = {"workload": Attr("uint64", work), "workload_on_arch": Attr("uint64", on_arch)}
        on_dpu = {"device": Attr("string", "DPU")}
        op = replace(op, attrs={**op.attrs, **on_dpu, **(counted if op.type.endswith("-fix") else {})})
        new = [constant for constant in constants if constant.name not in self.result]
        attrs = {**counted, **({"skip_code_gen": Attr("bool", True)} if skip_code_gen else {})}
        self.result.update((o.name, o) for o in (*new, op))
        self.leaves.append(Subgraph(f"subgraph_{op.name}", tuple(o.name for o in (*new, op)), attrs))
        return op

    def _data(self, op: Op) -> None:
        fixes = self.readers[op.name]
        if not fixes or any(fix.type != "fix" for fix in fixes):
            self._refuse(op, "an input must be quantised by a fix before anything reads it")
        position = self._common(op, [self._position_of(fix) for fix in fixes])
        tensor = _int8_tensor(position.tensor_name, op.output.shape, position.fix_point)
        attrs = {
            "shape": Attr("int32_vec", op.output.shape),
            "data_type": Attr("string", "XINT8"),
            "device": Attr("string", "USER"),
        }
        data = Op(op.name, "data-fix", attrs, {}, tensor)
        self.result[data.name] = data
        nothing = {"workload": Attr("uint64", 0), "workload_on_arch": Attr("uint64", 0)}
        self.user.append(Subgraph(f"subgraph_{op.name}", (op.name,), {"device": Attr("string", "USER"), **nothing}))
        upload = Op(
            f"{op.name}_upload_0",
            "upload",
            {},
            {"input": [op.name]},
            replace(tensor, name=f"{tensor.name}_upload_0"),
        )
        upload = self._emit(upload, skip_code_gen=True)
        for name in (op.name, *(fix.name for fix in fixes)):
            self.lowered[name] = upload

    def _fix(self, op: Op) -> None:
        """A fix that no operator before it took up: only a constant's may stand alone."""
        source = self.ops[self._only_input(op)]
        if source.type == "const":
            self.constants[op.name] = self._constant(source, op)
        else:
            self._refuse(op, f"a fix after {source.type!r} is not known to this software DPU")

    def _constant(self, const: Op, fix: Op) -> Op:
        position = self._position_of(fix)
        shape = const.output.shape
        content = const.typed("data", "bytes", b"")
        size = 4
        for extent in shape:
            size *= extent
        if const.output.dtype != "float32" or len(content) != size:
            raise XmodelError(
                f"constant {const.name!r}: expected {size} bytes of float32 for shape {list(shape)}, found "
                f"{len(content)} bytes of {const.output.dtype}. The file is damaged: export it again."
            )
        with np.errstate(invalid="ignore"):  # a signalling NaN in a damaged file
            values = np.frombuffer(content, "<f4").astype(np.float64)
        if not np.isfinite(values).all():
            raise XmodelError(f"constant {const.name!r} holds NaN or infinity. Quantise the network again.")
        integers = saturate(half_up(values * 2.0**position.fix_point))
        attrs = {
            "shape": Attr("int32_vec", shape),
            "data_type": Attr("string", "XINT8"),
            "device": Attr("string", "DPU"),
            "data": Attr("bytes", integers.tobytes()),
        }
        return Op(const.name, "const-fix", attrs, {}, _int8_tensor(position.tensor_name, shape, position.fix_point))

    def _compute(self, op: Op) -> None:
        chain = [op]  # the operator, its activation, its fixes: all names for the same integers
        activation = "NONE"
        readers = self.readers[op.name]
        if len(readers) == 1 and readers[0].type in _ACTIVATIONS:
            activation = _ACTIVATIONS[readers[0].type]
            self._check_activation(op, readers[0])
            chain.append(readers[0])
            readers = self.readers[readers[0].name]
        end = chain[-1]
        fixes = [reader for reader in readers if reader.type == "fix"]
        if fixes and len(fixes) != len(readers):
            self._refuse(end, "it is read both before and after its fix")
        if fixes:
            position = self._common(end, [self._position_of(fix) for fix in fixes])
        elif op.type in _KEEPS_GRID:
            grid = self._input(op, self._only_input(op)).output.value("fix_point")
            position = _Position(grid, end.output.name)
        else:
            position = _Position(self._downstream(end).fix_point, end.output.name)
        shape = end.output.shape
        tensor = _int8_tensor(position.tensor_name, shape, position.fix_point)
        made = self._make(op, activation, tensor)
        for name in (*(link.name for link in chain), *(fix.name for fix in fixes)):
            self.lowered[name] = made

    def _downstream(self, op: Op) -> _Position:
        """The one position at which a value without a fix is rounded: that of what it ends up in unchanged."""
        readers = self.readers[op.name]
        if not readers:
            self._refuse(op, "it is an output of the graph but is not quantised; only a fix sets a position")
        found = []
        for reader in readers:
            if reader.type == "fix":
                found.append(self._position_of(reader))
            elif reader.type == "concat" or reader.type in _KEEPS_GRID:
                found.append(self._downstream(reader))
            elif reader.type in (*_ON_DPU, *_ACTIVATIONS):
                self._refuse(op, f"it has no fix and is read by {reader.type!r}, which needs a quantised input")
            else:
                self._refuse(reader, _UNKNOWN)
        return self._common(op, found)

    def _common(self, op: Op, positions: list[_Position]) -> _Position:
        if len({position.fix_point for position in positions}) != 1:
            self._refuse(op, f"it is quantised at different fix points {sorted({p.fix_point for p in positions})}")
        return positions[0]

    def _check_activation(self, op: Op, activation: Op) -> None:
        if activation.type == "leaky-relu":
            alpha = activation.typed("alpha", "float")
            if alpha != LEAKY_SLOPE:
                self._refuse(activation, f"slope {alpha}; the DPU has only 26/256 = {LEAKY_SLOPE}")
            if op.type != "conv2d":
                self._refuse(activation, f"leaky ReLU after {op.type!r}; the DPU has it after convolutions only")
        elif op.type not in ("conv2d", "add", "eltwise"):
            self._refuse(activation, f"ReLU after {op.type!r}; the DPU has it after convolutions and additions only")

    def _only_input(self, op: Op) -> str:
        names = op.inputs.get("input", [])
        if len(names) != 1:
            self._refuse(op, f"it has {len(names)} inputs, expected 1")
        return names[0]

    def _input(self, op: Op, name: str) -> Op:
        if name not in self.lowered:
            self._refuse(op, f"its input {name!r} is a constant")
        return self.lowered[name]

    def _make(self, op: Op, activation: str, tensor: Tensor) -> Op:
        inputs = {"input": [self._input(op, name).name for name in op.inputs.get("input", [])]}
        constants: list[Op] = []
        keep: tuple[str, ...] = ()
        attrs: dict[str, Attr] = {}
        if op.type == "conv2d":
            for argument in ("weights", "bias"):
                for name in op.inputs.get(argument, []):
                    if name not in self.constants:
                        self._refuse(op, f"its {argument} must be a constant with a fix")
                    constants.append(self.constants[name])
                    inputs[argument] = [self.constants[name].name]
            keep = ("kernel", "stride", "dilation", "pad", "pad_mode", "group", "in_dim", "out_dim", "bias_term")
            kind, attrs = "conv2d-fix", {"nonlinear": Attr("string", activation)}
        elif op.type == "maxpool2d":
            if op.value("global") or op.value("pad_mode", "FLOOR") != "FLOOR":
                self._refuse(op, f"global {op.value('global')}, pad_mode {op.value('pad_mode')}; expected false, FLOOR")
            keep = ("kernel", "stride", "pad")
            kind, attrs = "pool-fix", {"type": Attr("string", "MAX")}
        elif op.type == "resize":
            keep = ("scale", "mode", "align_corners", "half_pixel_centers")
            kind = "upsample-fix"
            if op.inputs.get("size"):
                self._refuse(op, "a size computed in the graph is not known to this software DPU")
        elif op.type == "concat":
            keep, kind = ("axis",), "concat-fix"
        else:
            if op.value("type", "ADD") != "ADD":
                self._refuse(op, f"element-wise {op.value('type')!r} is not known to this software DPU")
            kind, attrs = "eltwise-fix", {"type": Attr("string", "ADD"), "nonlinear": Attr("string", activation)}
        attrs |= {key: op.attrs[key] for key in keep if key in op.attrs}
        return self._emit(Op(op.name, kind, attrs, inputs, tensor), *constants)

    def _downloads(self) -> None:
        """Give every integer tensor that nothing reads, or that the graph returns, its way out, in graph order."""
        returned = {self.lowered[n].name for n in self.graph.typed("return_ops", "string_vec", ()) if n in self.lowered}
        read = {name for op in self.result.values() for name in op.input_names()}
        for op in list(self.result.values()):
            if (op.name in read and op.name not in returned) or op.type in ("const-fix", "data-fix", "upload"):
                continue
            outer = op.output
            self.result[op.name] = replace(op, output=replace(outer, name=f"{outer.name}_download_0"))
            self._emit(Op(f"{op.name}_download_0", "download", {}, {"input": [op.name]}, outer))


def _int8_tensor(name: str, shape: tuple[int, ...], fix_point: int) -> Tensor:
    return Tensor(
        name,
        shape,
        "xint8",
        {
            "fix_point": Attr("int32", fix_point),
            "bit_width": Attr("int32", 8),
            "if_signed": Attr("bool", True),
            "round_mode": Attr("string", "DPU_ROUND"),
        },
    )
