"""Lowered graphs against a simulation of the quantised graph in float64 with torch: every fix, every integer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dpu.executor import EngineName
from dpu.graph import Attr, Graph, Op
from dpu.graph_runner import GraphRunner
from dpu.lowering import lower
from dpu.testing import QuantisedGraph

ENGINES: list[EngineName] = ["onnxruntime", "numpy"]
_GRID = 2.0**36  # finer than any sum of these graphs: takes float64's last bits off a mean or a sixth


def simulate(graph: Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The value of every operator of a quantised graph, float64, for float inputs by operator name."""
    values: dict[str, torch.Tensor] = {}
    for op in graph.ops:
        if op.type == "data":
            values[op.name] = torch.from_numpy(inputs[op.name].astype(np.float64))
        else:
            values[op.name] = _value(op, {key: [values[n] for n in names] for key, names in op.inputs.items()})
        assert tuple(values[op.name].shape) == op.output.shape, op.name
    return {name: value.numpy() for name, value in values.items()}


def _value(op: Op, arguments: dict[str, list[torch.Tensor]]) -> torch.Tensor:
    x = arguments.get("input", [torch.zeros(0)])
    if op.type == "const":
        return torch.from_numpy(np.frombuffer(op.value("data"), "<f4").astype(np.float64).reshape(op.output.shape))
    if op.type == "fix":
        scale = 2.0 ** op.value("fix_point")
        exact = torch.round(x[0] * _GRID) / _GRID
        return torch.clamp(torch.floor(exact * scale + 0.5), -128, 127) / scale
    if op.type in ("conv2d", "depthwise-conv2d", "transposed-conv2d", "maxpool2d", "avgpool2d", "resize"):
        return _picture(op, x[0].permute(0, 3, 1, 2), arguments).permute(0, 2, 3, 1)
    return _PLAIN[op.type](op, x, arguments)


def _picture(op: Op, x: torch.Tensor, arguments: dict[str, list[torch.Tensor]]) -> torch.Tensor:
    if op.type == "resize":
        scale = tuple(op.value("scale"))
        if op.value("mode") == "NEAREST":
            return F.interpolate(x, scale_factor=scale, mode="nearest")
        return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=op.value("align_corners"))
    kernel, stride, pad = op.value("kernel")[::-1], op.value("stride")[::-1], op.value("pad")
    if op.type == "maxpool2d":
        return F.max_pool2d(x, kernel, stride, (pad[2], pad[0]), ceil_mode=op.value("pad_mode") == "CEIL")
    if op.type == "avgpool2d":
        return F.avg_pool2d(x, kernel, stride, (pad[2], pad[0]))
    weights, bias = arguments["weights"][0], arguments["bias"][0]
    if op.type == "depthwise-conv2d":
        return F.conv2d(x, weights.permute(3, 0, 1, 2), bias, stride, (pad[2], pad[0]), groups=x.shape[1])
    if op.type == "conv2d":
        weights = weights.permute(0, 3, 1, 2)
        return F.conv2d(x, weights, bias, stride, (pad[2], pad[0]), groups=op.value("group", 1))
    flipped = weights.flip(1, 2).permute(3, 0, 1, 2)  # the exporter flipped torch's kernel; (I, O, kh, kw)
    return F.conv_transpose2d(x, flipped, bias, stride, (pad[2], pad[0]))


_Plain = Callable[[Op, list[torch.Tensor], dict[str, list[torch.Tensor]]], torch.Tensor]
_PLAIN: dict[str, _Plain] = {
    "relu": lambda op, x, _: torch.relu(x[0]),
    "relu6": lambda op, x, _: torch.clamp(x[0], 0, 6),
    "leaky-relu": lambda op, x, _: torch.where(x[0] < 0, x[0] * op.value("alpha"), x[0]),
    "hard-sigmoid": lambda op, x, _: torch.clamp(x[0] + 3, 0, 6) / 6,
    "sigmoid": lambda op, x, _: torch.sigmoid(x[0]),
    "softmax": lambda op, x, _: torch.softmax(x[0], op.value("axis")),
    "add": lambda op, x, _: x[0] + x[1],
    "mul": lambda op, x, _: x[0] * x[1],
    "concat": lambda op, x, _: torch.cat(x, op.value("axis")),
    "transpose": lambda op, x, _: x[0].permute(op.value("order")),
    "pad": lambda op, x, _: F.pad(x[0], [p for axis in (3, 2, 1, 0) for p in op.value("paddings")[2 * axis :][:2]]),
    "reduction_max": lambda op, x, _: torch.amax(x[0], op.value("axis"), op.value("keep_dims")),
    "reduction_mean": lambda op, x, _: torch.mean(x[0], op.value("axis"), op.value("keep_dims")),
    "matmul": lambda op, x, a: x[0] @ x[1].T + a["bias"][0],
    "strided_slice": lambda op, x, _: x[0][tuple(map(slice, *(op.value(k) for k in ("begin", "end", "strides"))))],
    **dict.fromkeys(("reshape", "flatten", "squeeze"), lambda op, x, _: x[0].reshape(op.output.shape)),
}


def small_random_input(graph: Graph, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """int8 integers by tensor name for GraphRunner, and the floats that they stand for by operator name."""
    rng = np.random.default_rng(seed)
    integers, floats = {}, {}
    readers = graph.consumers()
    for op in graph.ops:
        if op.type == "data":
            fix = readers[op.name][0]
            values = rng.integers(-128, 128, op.output.shape, dtype=np.int8)
            integers[fix.output.name] = values
            floats[op.name] = values * 2.0 ** -fix.value("fix_point")
    return integers, floats


def assert_equals_the_simulation(net: QuantisedGraph, seed: int = 0, least: int = 1) -> GraphRunner:
    """Every tensor of a run, on both engines, is the simulation's; gives the last runner."""
    graph = net.graph()
    integers, floats = small_random_input(graph, seed)
    expected = simulate(graph, floats)
    by_tensor = {op.output.name: expected[op.name] for op in graph.ops}
    for engine in ENGINES:
        runner = GraphRunner(graph, engine)
        known = runner.tensors()
        compared = 0
        for name, array in runner.run(integers, "all").items():
            if name not in by_tensor:
                continue
            fix_point = known[name].fix_point
            if fix_point is None:
                np.testing.assert_allclose(array, by_tensor[name], rtol=1e-6, atol=1e-7, err_msg=name)
            else:
                assert array.dtype == np.int8
                rounded = np.clip(np.floor(by_tensor[name] * 2.0**fix_point + 0.5), -128, 127)
                if array.shape == (1, 1, 1, rounded.size):  # between fully connected layers a vector stays a picture
                    array = array.reshape(rounded.shape)
                assert np.array_equal(array, rounded), name
            compared += 1
        fixes = [op for op in graph.ops if op.type == "fix" and graph.op_by_name()[op.input_names()[0]].type != "const"]
        missing = {op.output.name for op in fixes} - set(known)
        assert not missing and compared >= max(least, len(fixes))
    return runner


def devices(net: QuantisedGraph) -> list[str]:
    root = lower(net.graph()).root
    assert root is not None
    return [part.device for part in root.children if part.device != "USER"]


def start(channels: int = 8, size: int = 8, seed: int = 0) -> tuple[QuantisedGraph, str, np.random.Generator]:
    rng = np.random.default_rng(seed)
    net = QuantisedGraph("net")
    x = net.data("x", (1, size, size, 3), 5)
    return net, net.random_conv("first", x, channels, 3, rng, 4, "relu"), rng


@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky-relu", None])
@pytest.mark.parametrize("kind", ["conv2d", "depthwise-conv2d", "transposed-conv2d"])
def test_convolutions(kind: str, activation: str | None) -> None:
    """Each kind of convolution with each activation it can have."""
    net, x, rng = start()
    if kind == "conv2d":
        net.random_conv("c", x, 6, 3, rng, 3, activation)
    elif kind == "depthwise-conv2d":
        net.depthwise("c", x, 3, rng, 3, activation, 2)
    else:
        net.transposed("c", x, 6, 4, 2, rng, 3, activation, pad=1)
    assert_equals_the_simulation(net)
    assert devices(net) == ["DPU"]


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("fix_point", [3, 6])
def test_average_pools(kernel: int, fix_point: int) -> None:
    """The quantiser's mean times its factor is the DPU's sum times N / 2^M."""
    net, x, _ = start()
    net.average_pool("mean", x, kernel, min(kernel, 3), fix_point)
    assert_equals_the_simulation(net)
    assert devices(net) == ["DPU"]


def test_an_exact_mean_stays_on_the_cpu() -> None:
    """A mean of nine without the DPU's factor 63/64 would come out otherwise there."""
    net, x, _ = start()
    attrs = {"axis": Attr("int32_vec", (1,)), "keep_dims": Attr("bool", True)}
    net.move("mean", "reduction_mean", net.max_pool("p", x, 6, 1, 4), (1, 1, 3, 8), attrs, 6)
    assert_equals_the_simulation(net)
    assert devices(net) == ["DPU", "CPU"]


@pytest.mark.parametrize("axis", [(1,), (2,), (1, 2)])
@pytest.mark.parametrize("kind", ["reduction_max", "reduction_mean"])
def test_reductions_over_the_picture_are_pools(kind: str, axis: tuple[int, ...]) -> None:
    """A maximum or a mean over rows, columns or both becomes one window, as in AMD's compiled PointPillars."""
    net, x, _ = start()
    attrs = {"axis": Attr("int32_vec", axis), "keep_dims": Attr("bool", True)}
    shape = tuple(1 if number in axis else extent for number, extent in enumerate(net.shapes[x]))
    net.move("reduced", kind, x, shape, attrs, 4)
    assert_equals_the_simulation(net)
    assert [op.type for op in lower(net.graph()).ops if op.type == "pool-fix"] == ["pool-fix"]
    assert devices(net) == ["DPU"]


@pytest.mark.parametrize("fix_point", [5, 7, 8])
def test_hard_sigmoid_and_hard_swish(fix_point: int) -> None:
    """Both as the quantiser writes them: with its factor, and rounded at 2^-7 before the product."""
    net, x, rng = start()
    y = net.random_conv("c", x, 8, 1, rng, 4, None)
    net.hard_sigmoid("sigmoid", y, fix_point)
    net.elementwise("swish", "mul", [net.hard_sigmoid("inner", y, 7), y], fix_point - 3)
    assert_equals_the_simulation(net)
    assert devices(net) == ["DPU"]


def test_squeeze_and_excitation() -> None:
    """Global pool, two convolutions, hard sigmoid and a product per channel, all on the DPU."""
    net, x, rng = start()
    y = net.average_pool("squeeze", x, 8, 8, 5)
    y = net.random_conv("down", y, 4, 1, rng, 4, "relu")
    y = net.hard_sigmoid("gate", net.random_conv("up", y, 8, 1, rng, 4, None), 7)
    net.elementwise("excite", "mul", [x, y], 4)
    assert_equals_the_simulation(net)
    assert devices(net) == ["DPU"]


@pytest.mark.parametrize("mode", ["NEAREST", "BILINEAR"])
@pytest.mark.parametrize("scale", [2, 4])
def test_resizing(mode: str, scale: int) -> None:
    """Both ways of enlarging, with torch's pixel centres for the bilinear one."""
    net, x, _ = start(size=5)
    attrs = {
        "scale": Attr("float_vec", (float(scale), float(scale))),
        "mode": Attr("string", mode),
        "align_corners": Attr("bool", False),
        "half_pixel_centers": Attr("bool", mode == "BILINEAR"),
    }
    net.move("up", "resize", x, (1, 5 * scale, 5 * scale, 8), attrs, 4)
    assert_equals_the_simulation(net)
    assert devices(net) == ["DPU"]


def test_enlarging_without_exact_weights_runs_on_the_cpu() -> None:
    """Between corners, 5 rows to 10, the weights are ninths, for which no integer rule is public."""
    net, x, rng = start(size=5)
    attrs = {
        "scale": Attr("float_vec", (2.0, 2.0)),
        "mode": Attr("string", "BILINEAR"),
        "align_corners": Attr("bool", True),
        "half_pixel_centers": Attr("bool", False),
    }
    y = net.move("up", "resize", x, (1, 10, 10, 8), attrs, 4)
    net.random_conv("head", y, 5, 1, rng, 3, None)
    assert_equals_the_simulation(net)
    assert devices(net) == ["DPU", "CPU", "DPU"]


def test_padding_and_slicing() -> None:
    """A border of zeros and every second pixel."""
    net, x, rng = start()
    attrs = {"paddings": Attr("int32_vec", (0, 0, 1, 2, 0, 3, 0, 0)), "mode": Attr("string", "CONSTANT")}
    x = net.move("pad", "pad", x, (1, 11, 11, 8), attrs, 4)
    bounds = {"begin": (0, 1, 0, 2), "end": (2**31 - 1,) * 4, "strides": (1, 2, 2, 1)}
    attrs = {key: Attr("int32_vec", value) for key, value in bounds.items()}
    net.random_conv("c", net.move("slice", "strided_slice", x, (1, 5, 6, 6), attrs, 4), 4, 1, rng, 3)
    assert_equals_the_simulation(net)
    assert devices(net) == ["DPU"]


@pytest.mark.parametrize("channels_first", [False, True])
def test_fully_connected_layers(channels_first: bool) -> None:
    """A flattened picture, channels moved to the front or not, through two layers: all on the DPU, nothing moved."""
    net, x, rng = start(size=4)
    shape = (1, 4, 4, 8)
    if channels_first:
        shape = (1, 8, 4, 4)
        x = net.move("front", "transpose", x, shape, {"order": Attr("int32_vec", (0, 3, 1, 2))}, None)
    span = {"start_axis": Attr("int32", 1), "end_axis": Attr("int32", -1)}
    x = net.move("flat", "flatten", x, (1, 128), span, None)
    x = net.fully_connected("fc1", x, 10, rng, 3, "relu")
    net.fully_connected("fc2", x, 5, rng, 2)
    assert assert_equals_the_simulation(net).outputs == ("fc2_fix",)
    assert devices(net) == ["DPU"]
    kinds = [op.type for op in lower(net.graph()).ops]
    assert kinds.count("conv2d-fix") == 3 and "transpose" not in kinds


@pytest.mark.parametrize("axis", [(1, 2), (2,)])
def test_a_mean_that_drops_its_axes(axis: tuple[int, ...]) -> None:
    """`x.mean([2, 3])` before a classifier is a pool; a reshape follows only where the picture would not do."""
    net, x, rng = start(size=4)
    attrs = {"axis": Attr("int32_vec", axis), "keep_dims": Attr("bool", False)}
    shape = tuple(size for index, size in enumerate((1, 4, 4, 8)) if index not in axis)
    x = net.move("mean", "reduction_mean", x, shape, attrs, 5)
    x = net.move("flat", "flatten", x, (1, int(np.prod(shape))), {}, None)
    net.fully_connected("fc", x, 10, rng, 3)
    assert assert_equals_the_simulation(net).outputs == ("fc_fix",)
    assert devices(net) == ["DPU"]


def test_convolutions_with_a_padding_that_is_not_given_run_on_the_cpu() -> None:
    """SAME, by the rule of AMD's operator list: 2 rows of padding for 8 rows by steps of 3, 1 at either side."""
    net, x, rng = start(size=8)
    weights = net.const("w", rng.integers(-60, 61, (6, 4, 4, 8), dtype=np.int8), 8)
    inputs = {"input": [x], "weights": [weights], "bias": [net.const("b", rng.integers(-9, 9, 6), 5)]}
    attrs = {
        "kernel": Attr("int32_vec", (4, 4)),
        "stride": Attr("int32_vec", (3, 3)),
        "pad": Attr("int32_vec", (1,) * 4),
    }
    y = net.emit("c", "conv2d", (1, 3, 3, 6), inputs, {**attrs, "pad_mode": Attr("string", "SAME")})
    net.random_conv("head", net.fix(y, 4), 5, 1, rng, 3, None)
    assert_equals_the_simulation(net)
    assert devices(net) == ["DPU", "CPU", "DPU"]


def test_grouped_convolutions_run_on_the_cpu() -> None:
    """The DPU has none; AMD's compiler leaves them to the CPU too."""
    net, x, rng = start(size=4)
    ones = Attr("int32_vec", (1, 1))
    weights = net.const("w", rng.integers(-60, 61, (6, 3, 3, 4), dtype=np.int8), 8)
    inputs = {"input": [x], "weights": [weights], "bias": [net.const("b", rng.integers(-9, 9, 6), 5)]}
    attrs = {"kernel": Attr("int32_vec", (3, 3)), "stride": ones, "pad": Attr("int32_vec", (1, 1, 1, 1))}
    y = net.emit("c", "conv2d", (1, 4, 4, 6), inputs, {**attrs, "group": Attr("int32", 2)})
    y = net.fix(net.emit("a", "relu", (1, 4, 4, 6), {"input": [y]}, {}), 4)
    net.random_conv("head", y, 5, 1, rng, 3, None)
    assert_equals_the_simulation(net)
    assert devices(net) == ["DPU", "CPU", "DPU"]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "out"), [(8, 3, 2, 0, 4), (4, 1, 2, 0, 2), (7, 2, 3, 1, 3)]
)
def test_pools_that_round_up(size: int, kernel: int, stride: int, pad: int, out: int) -> None:
    """`ceil_mode` of torch, which leaves out a last window that lies wholly in the padding."""
    net, x, _ = start(size=size)
    sizes = {"kernel": (kernel, kernel), "stride": (stride, stride), "pad": (pad,) * 4}
    attrs = {key: Attr("int32_vec", value) for key, value in sizes.items()}
    net.move("pool", "maxpool2d", x, (1, out, out, 8), {**attrs, "pad_mode": Attr("string", "CEIL")}, 4)
    assert_equals_the_simulation(net)
    assert devices(net) == ["DPU"]


def test_what_the_dpu_has_not_runs_between_its_parts() -> None:
    """Sigmoid on the way and softmax at the end: DPU, CPU, DPU, CPU, and a value that skips the middle."""
    net, x, rng = start(size=4)
    y = net.elementwise("sigmoid", "sigmoid", [net.random_conv("c1", x, 8, 1, rng, 4, None)], 7)
    y = net.elementwise("gated", "mul", [x, y], 4)
    y = net.random_conv("c2", y, 10, 1, rng, 3, None)
    net.move("soft", "softmax", y, net.shapes[y], {"axis": Attr("int32", 3)}, 7)
    runner = assert_equals_the_simulation(net)
    assert devices(net) == ["DPU", "CPU", "DPU", "CPU"]
    assert runner.outputs == ("c1_fix", "first_act_fix", "c2_fix", "soft_fix")


def test_a_transpose_before_a_convolution_is_quantised_again_at_the_border() -> None:
    """As in AMD's compiled PointPillars: fix, transpose, then float2fix at the same position."""
    net, x, rng = start(size=4)
    y = net.elementwise("s", "sigmoid", [x], 7)
    y = net.move("turn", "transpose", y, (1, 8, 4, 4), {"order": Attr("int32_vec", (0, 3, 1, 2))}, None)
    net.random_conv("c", y, 6, 1, rng, 4, None)
    assert_equals_the_simulation(net)
    by_name = lower(net.graph()).op_by_name()
    assert by_name["turn_fix"].type == "float2fix" and by_name["turn_fix"].output.value("fix_point") == 7


def random_net(seed: int) -> QuantisedGraph:
    """A chain of ten random blocks with random positions, and shortcuts where shapes allow."""
    net, x, rng = start(3 + seed % 6, 12, seed)
    for depth in range(10):
        x = _block(net, f"b{depth}", x, rng)
    net.random_conv("head", x, 7, 3, rng, 3, None, spread=60)
    return net


def _block(net: QuantisedGraph, name: str, x: str, rng: np.random.Generator) -> str:
    _, height, width, channels = net.shapes[x]
    position = int(rng.integers(3, 6))
    activation = [None, "relu", "relu6", "leaky-relu"][rng.integers(4)]
    kind = int(rng.integers(10))
    if kind == 0 and height > 5:
        return net.max_pool(name, x, 2, 2, None)
    if kind == 1 and height > 5:
        return net.average_pool(name, x, 3, 2, position)
    if kind == 2 and height < 16:
        return net.upsample(name, x, 2, None if x.endswith("_fix") else position)
    if kind == 3 and height < 10:
        return net.transposed(name, x, int(rng.integers(1, 9)), 2, 2, rng, position, activation)
    if kind == 4:
        return net.elementwise(name, "mul", [net.hard_sigmoid(f"{name}_g", x, 7), x], position)
    if kind == 5:
        return net.elementwise(name, "mul", [x, net.elementwise(f"{name}_s", "sigmoid", [x], 7)], position)
    if kind == 6:
        return net.concat(name, [x, net.random_conv(f"{name}_c", x, 3, 3, rng, None, activation, spread=60)], position)
    if kind == 7:
        y = net.random_conv(f"{name}_c", x, channels, 3, rng, position, activation, spread=60)
        return net.add(name, [x, y], position)
    if kind == 8:
        return net.depthwise(name, x, 3, rng, position, activation)
    return net.random_conv(name, x, int(rng.integers(4, 12)), 3, rng, position, activation, spread=60)


@pytest.mark.parametrize("seed", range(16))
def test_random_graphs(seed: int) -> None:
    """Random chains of everything, on both engines, equal the simulation in every tensor."""
    runner = assert_equals_the_simulation(random_net(seed), seed, least=8)
    head = runner.run({"x_fix": np.random.default_rng(seed).integers(-128, 128, (1, 12, 12, 3), dtype=np.int8)})[
        "head_fix"
    ]
    assert len(np.unique(head)) > 8  # not all saturated


def test_what_the_graph_returns_is_an_output_though_it_is_read() -> None:
    """On the DPU, on the CPU in float, and the fix between them."""
    net, x, rng = start(size=4)
    y = net.elementwise("s", "sigmoid", [x], 7)
    net.random_conv("c", y, 6, 1, rng, 4, None)
    graph = net.graph()
    graph.attrs["return_ops"] = Attr("string_vec", ("first_act_fix", "s", "s_fix", "c_fix"))
    outputs = GraphRunner(graph).outputs
    assert {"first_act_fix", "s", "s_fix", "c_fix"} <= set(outputs)
    integers, floats = small_random_input(graph, 0)
    got, expected = GraphRunner(graph).run(integers), simulate(graph, floats)
    np.testing.assert_allclose(got["s_fix"], expected["s_fix"])
    np.testing.assert_allclose(got["s"], expected["s"], rtol=1e-6)


def test_names_that_the_graph_has_already() -> None:
    """A value of the CPU that is quantised twice, so that the name for its change of type is taken."""
    net, x, rng = start(size=4)
    y = net.elementwise("s", "sigmoid", [x], 7)
    net.fix(y, 3)
    net.elementwise("t", "relu", [y], None)
    net.random_conv("c", y, 6, 1, rng, 4, None)
    assert_equals_the_simulation(net)
    assert {"s_fix", "s_fix_fix", "s_fix_fix_1"} <= set(lower(net.graph()).op_by_name())


def test_a_constant_that_is_read_on_both_devices_and_at_two_positions() -> None:
    """Each reader keeps its own values: int8 at either position on the DPU, float on the CPU."""
    net, x, rng = start(size=4)
    fine = net.const("w", rng.integers(-60, 61, (1, 1, 1, 8), dtype=np.int8), 8)
    coarse = net.emit("w2", "fix", (1, 1, 1, 8), {"input": ["w"]}, {**net.ops[-1].attrs, "fix_point": Attr("int32", 5)})
    net.elementwise("m", "mul", [x, "w"], 3)
    ones = Attr("int32_vec", (1, 1))
    for name, weights in (("c1", fine), ("c2", coarse)):
        inputs = {"input": [x], "weights": [weights], "bias": [net.const(f"{name}_b", np.ones(1, np.int8), 5)]}
        attrs = {"kernel": ones, "stride": ones, "pad": Attr("int32_vec", (0, 0, 0, 0))}
        net.fix(net.emit(name, "conv2d", (1, 4, 4, 1), inputs, attrs), 4)
    assert_equals_the_simulation(net)
