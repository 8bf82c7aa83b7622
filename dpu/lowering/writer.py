"""The new graph: operators in subgraphs for the devices, with uploads, downloads and changes of type at the borders.

Names as AMD's compiler gives them: an integer tensor is called like the output of the `fix` that set its position, the
DPU's copy of an input is `TENSOR_upload_0`, its copy of an output `TENSOR_download_0`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dpu.errors import UnsupportedModelError
from dpu.graph import Attr, Graph, Op, Subgraph, Tensor
from dpu.lowering.forms import int8_tensor
from dpu.lowering.fully_connected import picture_shape
from dpu.lowering.groups import FULLY_CONNECTED
from dpu.lowering.placement import Placed, Placement
from dpu.workload import workload

DPU_NAME = "DPUCZDX8G_ISA1_B4096"
_CPU_RUNNER = "libvart-cpu-runner.so"
_DPU_RUNNER = {"ref": _CPU_RUNNER, "run": "libvart-dpu-runner.so", "sim": "libvart-sim-runner.so"}


@dataclass
class _Level:
    """One subgraph in the making."""

    leaves: list[Subgraph] = field(default_factory=list)  # on the DPU
    names: list[str] = field(default_factory=list)  # on the CPU
    uploads: dict[str, Op] = field(default_factory=dict)  # operator outside -> its upload


def write(placement: Placement) -> Graph:
    """The integer graph. Raises UnsupportedModelError where nothing runs on the DPU."""
    return _Writer(placement).run()


class _Writer:
    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.source = placement.graph.graph
        self.result: dict[str, Op] = {}  # by name, in the order of the new graph
        self.user: list[Subgraph] = []
        self.levels: dict[int, _Level] = {}
        self.int8: dict[str, Op] = {}  # operator of the quantised graph -> the one that holds its integers
        self.float: dict[str, Op] = {}  # the same for float values
        self.level_of: dict[str, int] = {}  # new DPU operator -> its level
        self.downloads: dict[str, Op] = {}
        self.pictures: dict[str, Op] = {}  # value -> the same as [1, H, W, C], for a fully connected layer

    def run(self) -> Graph:
        places = self.placement.in_order()
        for place in places:
            if place.group.op.type == "data":
                self._data(place)
        if not any(place.on_dpu for place in places):
            raise UnsupportedModelError(
                f"graph {self.source.name!r} has nothing for a DPU to do: expected quantised inputs and operators that "
                "depend on them. Export it with the quantiser first."
            )
        for place in sorted((p for p in places if p.group.op.type != "data"), key=lambda p: p.level):
            if place.on_dpu:
                self._on_dpu(place)
            elif not place.absorbed:
                self._on_cpu(place)
        for place in places:
            if place.on_dpu and self.placement.is_output(place.group):
                self._download(self.int8[place.group.op.name])
        return self._graph()

    # inputs

    def _data(self, place: Placed) -> None:
        op, position = place.group.op, place.position
        user = {"device": Attr("string", "USER")}
        if position is None:
            new = Op(op.name, "data", {**op.attrs, **user}, {}, op.output)
            self.float[op.name] = new
        else:
            tensor = int8_tensor(position.tensor_name, op.output.shape, position.fix_point)
            attrs = {"shape": Attr("int32_vec", op.output.shape), "data_type": Attr("string", "XINT8"), **user}
            new = Op(op.name, "data-fix", attrs, {}, tensor)
            self.int8.update((member.name, new) for member in place.group.ops)
        self.result[new.name] = new
        self.user.append(Subgraph(f"subgraph_{op.name}", (op.name,), {**user, **_work(0, 0)}))

    # on the DPU

    def _on_dpu(self, place: Placed) -> None:
        group, form, position = place.group, place.form, place.position
        assert form is not None and position is not None
        is_layer = group.op.type in FULLY_CONNECTED
        find = self._picture if is_layer else self._inside
        inputs = {"input": [find(name, place.level).name for name in place.reads]}
        inputs.update((argument, [constant.name]) for argument, constant in form.constants.items())
        tensor = int8_tensor(position.tensor_name, group.shape, position.fix_point)
        name = group.op.name
        if is_layer:
            inner = int8_tensor(f"{tensor.name}_inserted_fix", (1, 1, 1, group.shape[-1]), position.fix_point)
            layer = Op(f"{name}(TransferMatMulToConv2d)", form.type, form.attrs, inputs, inner)
            layer = self._leaf(place.level, layer, *form.constants.values())
            self.pictures.update((member.name, layer) for member in group.ops)
            reshape = Op(
                name, "reshape-fix", {"shape": Attr("int32_vec", group.shape)}, {"input": [layer.name]}, tensor
            )
            made = self._leaf(place.level, reshape)
        else:
            made = self._leaf(place.level, Op(name, form.type, form.attrs, inputs, tensor), *form.constants.values())
        self.int8.update((member.name, made) for member in group.ops)

    def _inside(self, name: str, level: int) -> Op:
        """The operator that holds a value's integers within a DPU subgraph; uploads it where it comes from outside."""
        op = self.int8.get(name) or self._float2fix(name)
        if self.level_of.get(op.name) == level:
            return op
        outside = self._download(op) if op.name in self.level_of else op
        uploads = self._level(level).uploads
        if outside.name not in uploads:
            count = sum(outside.name in other.uploads for other in self.levels.values())
            tensor = replace(outside.output, name=f"{outside.output.name}_upload_{count}")
            upload = Op(f"{outside.name}_upload_{count}", "upload", {}, {"input": [outside.name]}, tensor)
            uploads[outside.name] = self._leaf(level, upload)
        return uploads[outside.name]

    def _picture(self, name: str, level: int) -> Op:
        """A value as [1, H, W, C]: as it is, as the convolution before it made it, or reshaped."""
        before = self.pictures.get(name)
        if before is not None and self.level_of[before.name] == level:
            return before
        op = self._inside(name, level)
        shape = picture_shape(op.output.shape)
        if shape == op.output.shape:
            return op
        tensor = replace(op.output, name=f"{op.output.name}_picture", shape=shape)
        attrs = {"shape": Attr("int32_vec", shape)}
        self.pictures[name] = self._leaf(
            level, Op(f"{op.name}_picture", "reshape-fix", attrs, {"input": [op.name]}, tensor)
        )
        return self.pictures[name]

    def _download(self, op: Op) -> Op:
        """The way out of a DPU operator's integers; the tensor outside has the name, the one inside another."""
        if op.name not in self.downloads:
            inside = self.result[op.name]
            inner = replace(inside.output, name=f"{inside.output.name}_download_0")
            self.result[op.name] = replace(inside, output=inner)
            download = Op(f"{op.name}_download_0", "download", {}, {"input": [op.name]}, inside.output)
            self.downloads[op.name] = self._leaf(self.level_of[op.name], download)
        return self.downloads[op.name]

    def _leaf(self, level: int, op: Op, *constants: Op) -> Op:
        sources = op.inputs.get("input", [])
        work = _work(*workload(op, self.result[sources[0]].output.shape if sources else ()))
        on_dpu = {"device": Attr("string", "DPU")}
        op = replace(op, attrs={**op.attrs, **on_dpu, **(work if op.type.endswith("-fix") else {})})
        new = [constant for constant in constants if constant.name not in self.result]
        attrs = {**work, **({"skip_code_gen": Attr("bool", True)} if op.type == "upload" else {})}
        self.result.update((o.name, o) for o in (*new, op))
        names = tuple(o.name for o in (*new, op))
        self._level(level).leaves.append(Subgraph(f"subgraph_{op.name}", names, attrs))
        self.level_of[op.name] = level
        return op

    # on the CPU

    def _on_cpu(self, place: Placed) -> None:
        for op in place.group.ops:
            if op.type == "fix" and self._read_by_dpu_alone(op):
                self._float2fix(op.name, op)
            else:
                self._copy(op, place.level)

    def _copy(self, op: Op, level: int) -> Op:
        """A float operator as it stands, after what it reads."""
        inputs = {key: [self._as_float(name, level).name for name in names] for key, names in op.inputs.items()}
        made = replace(op, inputs=inputs, attrs={**op.attrs, "device": Attr("string", "CPU")})
        self.float[op.name] = self._cpu(level, made)
        return made

    def _as_float(self, name: str, level: int) -> Op:
        if name in self.float:
            return self.float[name]
        if name in self.placement.graph.constant:
            return self._copy(self.placement.graph.constant[name], level)
        held = self.int8[name]
        outside = self._download(held) if held.name in self.level_of else held
        tensor = Tensor(f"{outside.output.name}_fix2float", outside.output.shape, "float32")
        attrs = _conversion(outside.output)
        self.float[name] = self._cpu(
            level, Op(f"{name}_fix2float", "fix2float", attrs, {"input": [outside.name]}, tensor)
        )
        return self.float[name]

    def _float2fix(self, name: str, fix: Op | None = None) -> Op:
        """A CPU value as int8, in the CPU's subgraph: the fix itself changes the type, or one is added after it."""
        place = self.placement.of(name)
        source = self._as_float(fix.input_names()[0], place.level) if fix else self.float[name]
        fix_point = self.placement.grid[name]
        own = fix.name if fix else f"{name}_fix"
        tensor = int8_tensor(fix.output.name if fix else own, source.output.shape, fix_point)
        op = Op(own, "float2fix", _conversion(tensor), {"input": [source.name]}, tensor)
        self.int8[name] = self._cpu(max(place.level, 1), op)
        return self.int8[name]

    def _read_by_dpu_alone(self, fix: Op) -> bool:
        graph = self.placement.graph
        if fix.name in graph.graph.typed("return_ops", "string_vec", ()) or not graph.readers[fix.name]:
            return False
        places = [self.placement.of(reader.name) for reader in graph.readers[fix.name]]
        return all(place.on_dpu and fix.name in place.reads for place in places)

    def _cpu(self, level: int, op: Op) -> Op:
        self.result[op.name] = op
        self._level(level).names.append(op.name)
        return op

    # the whole

    def _level(self, level: int) -> _Level:
        return self.levels.setdefault(level, _Level())

    def _graph(self) -> Graph:
        parts = [self._subgraph(self.levels[number]) for number in sorted(self.levels)]
        total = _sum(parts)
        name = self.source.root.name if self.source.root else self.source.name
        root = Subgraph(name, (), total, (*self.user, *parts))
        return Graph(self.source.name, list(self.result.values()), root, dict(self.source.attrs), self.source.op_defs)

    def _subgraph(self, level: _Level) -> Subgraph:
        if level.names:
            attrs: dict[str, Any] = {
                "device": Attr("string", "CPU"),
                "runner": Attr("map_string_2_string", dict.fromkeys(_DPU_RUNNER, _CPU_RUNNER)),
                **_work(0, 0),
            }
            return Subgraph(f"subgraph_{level.names[0]}", tuple(level.names), attrs)
        inside = [self.result[name] for leaf in level.leaves for name in leaf.op_names]
        first = next((op for op in inside if op.value("workload")), inside[0])
        attrs = {
            "device": Attr("string", "DPU"),
            "dpu_name": Attr("string", DPU_NAME),
            "runner": Attr("map_string_2_string", dict(_DPU_RUNNER)),
            "children_topological_sort": Attr("string_vec", tuple(leaf.name for leaf in level.leaves)),
            **_sum(level.leaves),
        }
        return Subgraph(f"subgraph_{first.name}", (), attrs, tuple(level.leaves))


def _work(plain: int, on_arch: int) -> dict[str, Attr]:
    return {"workload": Attr("uint64", plain), "workload_on_arch": Attr("uint64", on_arch)}


def _sum(parts: list[Subgraph]) -> dict[str, Attr]:
    return _work(*(sum(part.value(key, 0) for part in parts) for key in ("workload", "workload_on_arch")))


def _conversion(tensor: Tensor) -> dict[str, Attr]:
    return {key: tensor.attrs[key] for key in ("fix_point", "bit_width", "if_signed", "round_mode")}
