"""The new graph: operators in subgraphs for the devices, with uploads, downloads and changes of type at the borders.

Names as AMD's compiler gives them: an integer tensor is called like the output of the `fix` that set its position, the
DPU's copy of an input is `TENSOR_upload_0`, its copy of an output `TENSOR_download_0`. Where the quantised graph
has such a name already, a number is added.
"""

from __future__ import annotations

from dataclasses import replace

from dpu.errors import UnsupportedModelError
from dpu.graph import Attr, Graph, Op, Subgraph, Tensor
from dpu.lowering.form import int8_tensor
from dpu.lowering.fully_connected import picture_shape
from dpu.lowering.groups import FULLY_CONNECTED
from dpu.lowering.levels import Level, root_of, work
from dpu.lowering.placement import Placed, Placement
from dpu.workload import workload


def write(placement: Placement) -> Graph:
    """The integer graph. Raises UnsupportedModelError where nothing runs on the DPU."""
    return _Writer(placement).run()


class _Writer:
    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.source = placement.graph.graph
        self.result: dict[str, Op] = {}  # by name, in the order of the new graph
        self.user: list[Subgraph] = []
        self.levels: dict[int, Level] = {}
        self.int8: dict[str, Op] = {}  # operator of the quantised graph -> the one that holds its integers
        self.float: dict[str, Op] = {}  # the same for float values
        self.level_of: dict[str, int] = {}  # new DPU operator -> its level
        self.downloads: dict[str, Op] = {}
        self.pictures: dict[str, Op] = {}  # value -> the same as [1, H, W, C], for a fully connected layer
        self.op_names = {op.name for op in self.source.ops}
        self.tensor_names = {op.output.name for op in self.source.ops}

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
        self.user.append(Subgraph(f"subgraph_{op.name}", (op.name,), {**user, **work(0, 0)}))

    # on the DPU

    def _on_dpu(self, place: Placed) -> None:
        group, form, position = place.group, place.form, place.position
        assert form is not None and position is not None
        find = self._picture if group.op.type in FULLY_CONNECTED else self._inside
        inputs = {"input": [find(name, place.level).name for name in place.reads]}
        constants = {argument: self._constant(constant) for argument, constant in form.constants.items()}
        inputs.update((argument, [constant.name]) for argument, constant in constants.items())
        tensor = int8_tensor(position.tensor_name, form.picture or group.shape, position.fix_point)
        made = Op(group.op.name, form.type, form.attrs, inputs, tensor)
        if form.picture is None:
            made = self._leaf(place.level, made, *constants.values())
        else:
            made = self._as_picture(place, made, *constants.values())
        self.int8.update((member.name, made) for member in group.ops)

    def _as_picture(self, place: Placed, op: Op, *constants: Op) -> Op:
        """An operator that gives [1, H, W, C], and the reshape after it, unless only fully connected layers follow."""
        group, tensor = place.group, op.output
        if group.op.type in FULLY_CONNECTED:
            op = replace(op, name=_free(f"{op.name}(TransferMatMulToConv2d)", self.op_names))
        else:
            op = replace(op, name=_free(f"{op.name}_picture", self.op_names))
        as_read = tensor.shape == picture_shape(group.shape)
        alone = as_read and self.placement.is_looked_through(group) and not self.placement.is_output(group)
        if not alone:
            op = replace(op, output=replace(tensor, name=_free(f"{tensor.name}_inserted_fix", self.tensor_names)))
        made = self._leaf(place.level, op, *constants)
        if as_read:
            self.pictures.update((member.name, made) for member in group.ops)
        if alone:
            return made
        flat = int8_tensor(tensor.name, group.shape, int(tensor.value("fix_point")))
        attrs = {"shape": Attr("int32_vec", group.shape)}
        return self._leaf(place.level, Op(group.op.name, "reshape-fix", attrs, {"input": [made.name]}, flat))

    def _constant(self, constant: Op) -> Op:
        """A constant, under another name where its own already holds other values (in float, or on another grid)."""
        if self.result.get(constant.name, constant) == constant:
            return constant
        return replace(constant, name=_free(constant.name, self.op_names))

    def _inside(self, name: str, level: int) -> Op:
        """The operator that holds a value's integers within a DPU subgraph; uploads it where it comes from outside."""
        op = self.int8.get(name) or self._float2fix(name)
        if self.level_of.get(op.name) == level:
            return op
        outside = self._download(op) if op.name in self.level_of else op
        uploads = self._level(level).uploads
        if outside.name not in uploads:
            count = sum(outside.name in other.uploads for other in self.levels.values())
            tensor = replace(outside.output, name=_free(f"{outside.output.name}_upload_{count}", self.tensor_names))
            name = _free(f"{outside.name}_upload_{count}", self.op_names)
            upload = Op(name, "upload", {}, {"input": [outside.name]}, tensor)
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
        tensor = replace(op.output, name=_free(f"{op.output.name}_picture", self.tensor_names), shape=shape)
        attrs = {"shape": Attr("int32_vec", shape)}
        view = Op(_free(f"{op.name}_picture", self.op_names), "reshape-fix", attrs, {"input": [op.name]}, tensor)
        self.pictures[name] = self._leaf(level, view)
        return self.pictures[name]

    def _download(self, op: Op) -> Op:
        """The way out of a DPU operator's integers; the tensor outside has the name, the one inside another."""
        if op.name not in self.downloads:
            inside = self.result[op.name]
            inner = replace(inside.output, name=_free(f"{inside.output.name}_download_0", self.tensor_names))
            self.result[op.name] = replace(inside, output=inner)
            name = _free(f"{op.name}_download_0", self.op_names)
            download = Op(name, "download", {}, {"input": [op.name]}, inside.output)
            self.downloads[op.name] = self._leaf(self.level_of[op.name], download)
        return self.downloads[op.name]

    def _leaf(self, level: int, op: Op, *constants: Op) -> Op:
        sources = op.inputs.get("input", [])
        counts = work(*workload(op, self.result[sources[0]].output.shape if sources else ()))
        on_dpu = {"device": Attr("string", "DPU")}
        op = replace(op, attrs={**op.attrs, **on_dpu, **(counts if op.type.endswith("-fix") else {})})
        new = [constant for constant in constants if constant.name not in self.result]
        attrs = {**counts, **({"skip_code_gen": Attr("bool", True)} if op.type == "upload" else {})}
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
        name = _free(op.name, self.op_names) if op.name in self.result else op.name  # an int8 constant has it
        made = replace(op, name=name, inputs=inputs, attrs={**op.attrs, "device": Attr("string", "CPU")})
        self.float[op.name] = self._cpu(level, made)
        return made

    def _as_float(self, name: str, level: int) -> Op:
        if name in self.float:
            return self.float[name]
        if name in self.placement.graph.constant:
            return self._copy(self.placement.graph.constant[name], level)
        held = self.int8[name]
        outside = self._download(held) if held.name in self.level_of else held
        tensor_name = _free(f"{outside.output.name}_fix2float", self.tensor_names)
        tensor, attrs = Tensor(tensor_name, outside.output.shape, "float32"), _conversion(outside.output)
        op = Op(_free(f"{name}_fix2float", self.op_names), "fix2float", attrs, {"input": [outside.name]}, tensor)
        self.float[name] = self._cpu(level, op)
        return self.float[name]

    def _float2fix(self, name: str, fix: Op | None = None) -> Op:
        """A CPU value as int8, in the CPU's subgraph: the fix itself changes the type, or one is added after it."""
        place = self.placement.of(name)
        source = self._as_float(fix.input_names()[0], place.level) if fix else self.float[name]
        fix_point = self.placement.grid[name]
        own = fix.name if fix else _free(f"{name}_fix", self.op_names)
        tensor_name = fix.output.name if fix else _free(own, self.tensor_names)
        tensor = int8_tensor(tensor_name, source.output.shape, fix_point)
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

    def _level(self, level: int) -> Level:
        return self.levels.setdefault(level, Level())

    def _graph(self) -> Graph:
        parts = [self.levels[number].subgraph(self.result) for number in sorted(self.levels)]
        root = root_of(self.source.root.name if self.source.root else self.source.name, self.user, parts)
        return Graph(self.source.name, list(self.result.values()), root, dict(self.source.attrs), self.source.op_defs)


def _conversion(tensor: Tensor) -> dict[str, Attr]:
    return {key: tensor.attrs[key] for key in ("fix_point", "bit_width", "if_signed", "round_mode")}


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; it is taken from now on."""
    free, number = name, 1
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free)
    return free
