"""Damaged and hostile .xmodel files: an error of the package each, never anything else.

Mutations of the sample files (of made graphs where those are absent), of their bytes and of their messages, go through
loading, showing, checking, lowering and the reading of the program; small ones run too. Seeds are fixed.
"""

from __future__ import annotations

import importlib.util
import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from dpu import xmodel
from dpu.architecture import BOARDS
from dpu.compatibility import check
from dpu.errors import DpuError
from dpu.graph import Attr, Graph, Op, Subgraph, Tensor
from dpu.graph_layers import layers_of_integer_graph
from dpu.graph_runner import GraphRunner
from dpu.lowering import is_quantised, lower
from dpu.program_reader import program_of
from dpu.summary import summarise
from dpu.summary_text import lines
from dpu.testing import QuantisedGraph

SAMPLES = (
    *(f"xmodels/zcu104_{name}" for name in ("vai2.0_small_cnn", "vai2.5_small_cnn", "vai3.0_pointpillars")),
    *("xmodels/quantised_only_voxelnet_int", "xmodels/vck190_vai1.4.1_densebox", "xmodels/not_a_dpu_graph_lstm"),
    *("nndct_reference/spp_nocorr.int", "nndct_reference/tinyyolo_default.int"),
)
HANG_S = 20  # a mutation takes milliseconds; a machine in heavy use some more
MOST_MB = 500
SMALL = 500_000  # values in all tensors together: what runs on the plain engine in no time


def _messages() -> Any:
    spec = importlib.util.spec_from_file_location("serial_v2_pb2", Path(__file__).with_name("serial_v2_pb2.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pb = _messages()


@pytest.fixture(scope="module")
def samples() -> list[bytes]:
    """The sample files without their 72 kB of operator definitions (one keeps them), and two made graphs."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data"
    made = _made_graph()
    contents = [xmodel.dumps(made), xmodel.dumps(lower(made))]
    for name in SAMPLES if folder.is_dir() else ():
        message = pb.Graph.FromString((folder / f"{name}.xmodel").read_bytes())
        if name != SAMPLES[0]:
            del message.op_defs[2:]
        contents.append(message.SerializeToString())
    return contents


def _made_graph() -> Graph:
    net, rng = QuantisedGraph("made"), np.random.default_rng(0)
    x = net.random_conv("c1", net.data("x", (1, 8, 8, 3), 6), 8, 3, rng, 4)
    y = net.max_pool("p", x, 2, 2, 4)
    z = net.random_conv("c2", y, 8, 3, rng, 4, "relu")
    a = net.add("a", [y, z], 4)
    u = net.upsample("u", a, 2, None)
    net.random_conv("head", net.concat("cat", [u, x], 4), 18, 1, rng, 3, None)
    return net.graph()


class _Hang(Exception):
    pass


@contextmanager
def _no_hang() -> Iterator[None]:
    def ring(signal_number: int, frame: FrameType | None) -> None:
        raise _Hang(f"more than {HANG_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def exercise(content: bytes, run: bool) -> None:
    """Take a file through everything that reads it; only DpuError may come out, which is swallowed."""
    try:
        graph = xmodel.loads(content)
    except DpuError:
        return
    with suppress(DpuError):
        assert all(len(line) < 5000 for line in lines(summarise(graph), True))
    with suppress(DpuError):
        check(graph, BOARDS["zcu104"])
    with suppress(DpuError):
        check(graph, None, 0x101000016010203)
    with suppress(DpuError):
        assert xmodel.loads(xmodel.dumps(graph)).ops is not None
    with suppress(DpuError):
        whole = lower(graph) if is_quantised(graph) else graph
        for part in whole.subgraphs("DPU"):
            with suppress(DpuError):
                program_of(whole, part)
        if run and sum(prod(op.output.shape) for op in whole.ops) < SMALL:
            _run(whole)
        layers_of_integer_graph(whole)


def _run(graph: Graph) -> None:
    runner = GraphRunner(graph, engine="numpy")
    types = {"int8": np.int8, "float32": np.float32}
    runner.run({t.name: np.ones(t.shape, types.get(t.dtype, np.float32)) for t in runner.inputs}, "all")


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """One to four changes to the bytes: bits, lengths, pieces cut out, doubled or moved, the end cut off."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if not changed:
            break
        # The end of a message and its beginning hold more structure than the weights in the middle.
        at = rng.choice((rng.randrange(len(changed)), rng.randrange(min(len(changed), 4000))))
        size = rng.choice((1, 2, 8, 100, 5000))
        way = rng.randrange(7)
        if way == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif way == 2:  # a length or a number of up to 2^63
            changed[at : at + 1] = b"\xff" * rng.randint(1, 9) + b"\x7f"
        elif way == 3:
            del changed[at : at + size]
        elif way == 4:
            changed[at:at] = changed[at : at + size]
        elif way == 5:
            changed[at : at + size] = rng.randbytes(min(size, 100))
        else:
            del changed[at:]
    return bytes(changed)


NUMBERS = (0, 1, -1, 2, 3, 7, 16, 33, 255, 256, 4097, 65536, 2**20, 2**31 - 1, -(2**31))
TYPES = (
    *("conv2d", "conv2d-fix", "depthwise-conv2d", "depthwise-conv2d-fix", "transposed-conv2d", "transposed-conv2d-fix"),
    *("pool-fix", "maxpool2d", "avgpool2d", "add", "eltwise", "eltwise-fix", "mul", "concat", "concat-fix", "resize"),
    *("upsample-fix", "pad", "pad-fix", "reshape", "reshape-fix", "relu", "relu6", "leaky-relu", "hsigmoid", "hswish"),
    *("fix", "float2fix", "fix2float", "const", "const-fix", "data", "data-fix", "upload", "download", "softmax"),
    *("transpose", "argmax", "reduction_max", "inner-product", "flatten", "squeeze", "sigmoid", "strided_slice", "no"),
)
WORDS = (
    "",
    "MAX",
    "AVG",
    "ADD",
    "MUL",
    "NEAREST",
    "BILINEAR",
    "LEAKYRELU",
    "RELU6",
    "HSWISH",
    "SAME",
    "CEIL",
    "\u2028",
)


def mutated_message(content: bytes, rng: random.Random) -> bytes:
    """One to three changes that keep the bytes a sound message: numbers, names, kinds, types, readings, nesting."""
    message = pb.Graph.FromString(content)
    for _ in range(rng.randint(1, 3)):
        rng.choice((_op, _op, _op, _attr, _attr, _attr, _attr, _tensor, _tensor, _readings, _subgraphs))(message, rng)
    return message.SerializeToString()  # type: ignore[no-any-return]


def _some_op(message: Any, rng: random.Random) -> Any:
    if not message.op_node:
        message.op_node.add(op_name="only", op_type="data")
    # Constants are more than half of all operators and the least interesting.
    for _ in range(3):
        node = rng.choice(message.op_node)
        if not node.op_type.startswith("const") or rng.random() < 0.3:
            break
    return node


def _op(message: Any, rng: random.Random) -> None:
    node, way = _some_op(message, rng), rng.randrange(5)
    if way == 0:
        node.op_type = rng.choice(TYPES)
    elif way == 1:
        node.op_name = rng.choice((_some_op(message, rng).op_name, "", "x" * 3000))
    elif way == 2:
        message.op_node.add().CopyFrom(node)
    elif way == 3:
        message.op_node.remove(node)
    else:
        node.CopyFrom(_some_op(message, rng))


def _attr(message: Any, rng: random.Random) -> None:
    holders = [node.op_attr for node in (_some_op(message, rng),)]
    holders.append(_some_op(message, rng).output_tensor.tensor_attr)
    holders.append(rng.choice([part.subg_attr for part in _parts(message.subg_root)]))
    holders.append(message.graph_attr)
    attrs = rng.choice(holders[:3]) if rng.random() < 0.95 else message.graph_attr
    if not attrs:
        return
    value = attrs[rng.choice(sorted(attrs))]
    kind, way = value.WhichOneof("value"), rng.randrange(8)
    if way == 0:
        value.Clear()
    elif way == 1:
        value.string_value = rng.choice(WORDS)
    elif way == 2:
        value.int32_value = rng.choice(NUMBERS)
    elif way == 3:
        value.uint64_value = rng.choice(NUMBERS) % 2**64
    elif way == 4:
        value.int32_vec_value.value[:] = [rng.choice(NUMBERS) for _ in range(rng.randrange(6))]
    elif way == 5:
        value.float_vec_value.value[:] = [
            rng.choice((0.5, 2.0, 64.0, 1e30, float("nan"))) for _ in range(rng.randrange(4))
        ]
    elif kind == "bytes_value":
        value.bytes_value.value = value.bytes_value.value[: rng.choice((0, 1, 7, -1))]
    elif kind in ("int32_vec_value", "float_vec_value", "string_vec_value") and getattr(value, kind).value:
        numbers = getattr(value, kind).value
        strange = rng.choice(WORDS) if kind.startswith("string") else rng.choice(NUMBERS)
        numbers[rng.randrange(len(numbers))] = strange
    elif kind == "map_string_2_bytes_value":
        for key in value.map_string_2_bytes_value.value:
            value.map_string_2_bytes_value.value[key] = value.map_string_2_bytes_value.value[key][: rng.choice((0, 9))]
    else:
        value.float_value = rng.choice((0.0, -1.0, 0.1, float("inf"), float("nan")))


def _tensor(message: Any, rng: random.Random) -> None:
    tensor, way = _some_op(message, rng).output_tensor, rng.randrange(5)
    if way == 0 and tensor.tensor_dim:
        tensor.tensor_dim[rng.randrange(len(tensor.tensor_dim))] = rng.choice((0, 2, 3, 1000, 60_000, 2**31, 2**32 - 1))
    elif way == 1:
        tensor.tensor_dim[:] = [rng.choice((0, 1, 8, 30_000, 2**32 - 1)) for _ in range(rng.randrange(7))]
    elif way == 2:
        tensor.tensor_name = rng.choice((_some_op(message, rng).output_tensor.tensor_name, "", "\x1b[31m"))
    elif way == 3:
        tensor.data_type = rng.choice((*range(7), 7, -1, 2**31 - 1))
    else:
        tensor.tensor_bit_width = rng.choice(NUMBERS)


def _readings(message: Any, rng: random.Random) -> None:
    node = _some_op(message, rng)
    other = rng.choice((_some_op(message, rng).op_name, node.op_name, "nobody"))
    if not node.args or rng.random() < 0.2:
        node.args.add(arg_name=rng.choice(("input", "weights", "bias", "size", "")), arg_ops=[other])
        return
    argument, way = rng.choice(node.args), rng.randrange(5)
    if way == 0:
        argument.arg_ops.append(other)
    elif way == 1:
        del argument.arg_ops[:]
    elif way == 2:
        argument.arg_ops[:] = [other]
    elif way == 3:
        argument.arg_name = rng.choice(("input", "weights", "bias", "size", ""))
    else:
        argument.arg_ops[:] = list(argument.arg_ops) * rng.choice((2, 500))


def _parts(subgraph: Any) -> list[Any]:
    return [subgraph, *(inner for child in subgraph.subg_child for inner in _parts(child))]


def _subgraphs(message: Any, rng: random.Random) -> None:
    part, way = rng.choice(_parts(message.subg_root)), rng.randrange(6)
    if way == 0:
        part.subg_attr["device"].string_value = rng.choice(("DPU", "CPU", "USER", "dpu", ""))
    elif way == 1 and part.op_name:
        part.op_name[rng.randrange(len(part.op_name))] = _some_op(message, rng).op_name
    elif way == 2 and part.op_name:
        del part.op_name[rng.randrange(len(part.op_name))]
    elif way == 3 and part.subg_child:
        del part.subg_child[rng.randrange(len(part.subg_child))]
    elif way == 4:
        message.ClearField("subg_root")
    else:
        for _ in range(rng.choice((3, 40, 60))):
            inner = pb.SubGraph()
            inner.CopyFrom(part)
            part.Clear()
            part.subgraph_name = "outer"
            part.subg_child.add().CopyFrom(inner)
            if len(inner.SerializeToString()) > 100_000:
                break


def _fuzz(samples: list[bytes], seeds: range) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        rng = random.Random(seed)
        content = samples[seed % len(samples)]
        mutated = (mutated_bytes if rng.random() < 0.4 else mutated_message)(content, rng)
        try:
            with _no_hang():
                exercise(mutated, run=rng.random() < 0.2)
        except Exception as error:
            raise AssertionError(f"seed {seed} of sample {seed % len(samples)}: {error!r}") from error
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < MOST_MB


def test_mutations_are_errors_of_the_package(samples: list[bytes]) -> None:
    """Some hundred mutations: DpuError or a sound graph, no other exception, no hang, no great memory."""
    _fuzz(samples, range(500))


@pytest.mark.slow
def test_many_mutations_are_errors_of_the_package(samples: list[bytes]) -> None:
    """The same with 20,000 others."""
    _fuzz(samples, range(1000, 21_000))


@pytest.mark.parametrize("size", [0, 1, 100, 10_000, 1_000_000])
def test_random_bytes_are_refused(size: int) -> None:
    """What is no message at all."""
    rng = random.Random(size)
    for _ in range(20):
        exercise(rng.randbytes(size), run=False)


@pytest.mark.parametrize(("length", "readings", "kind"), [(2000, 1, "concat"), (60, 2, "concat"), (1000, 1, "reshape")])
def test_long_and_branching_graphs_end(length: int, readings: int, kind: str) -> None:
    """Operators without a fix in a row, and ones read twice each (2^60 ways through), neither recurse nor hang."""
    net = QuantisedGraph("chain")
    last = net.data("x", (1, 4, 4, 4), 4)
    for index in range(length):
        attrs = {"axis": Attr("int32", 3), "shape": Attr("int32_vec", (1, 4, 4, 4))}
        last = net.emit(f"o{index}", kind, (1, 4, 4, 4), {"input": [last] * readings}, attrs)
    net.fix(last, 4)
    with _no_hang():
        exercise(xmodel.dumps(net.graph()), run=True)


def test_many_subgraphs_end() -> None:
    """400 subgraphs of 4,000 operators are looked through in one pass."""
    data = [Op(f"d{i}", "data-fix", {}, {}, Tensor(f"d{i}", (1, 2, 2, 2), "xint8")) for i in range(4000)]
    parts = tuple(Subgraph(f"s{i}", tuple(f"d{j}" for j in range(i, 4000, 400))) for i in range(400))
    graph = Graph("g", data, Subgraph("root", (), {}, parts))
    with _no_hang():
        exercise(xmodel.dumps(graph), run=True)
