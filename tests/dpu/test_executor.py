"""The software DPU: the real quantiser's integers, and both engines against each other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dpu import xmodel
from dpu.arithmetic import quantise
from dpu.errors import RunError, UnsupportedModelError
from dpu.exactness import plan
from dpu.executor import EngineName, Executor
from dpu.operators.convolution import Convolution
from dpu.operators.testing import IntegerGraph
from dpu.testing import QuantisedGraph, differing_in_threads

ENGINES: list[EngineName] = ["onnxruntime", "numpy"]


def plain(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")


def random_input(executor: Executor, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {value.name: rng.integers(-128, 128, value.shape, dtype=np.int8) for value in executor.inputs}


def assert_engines_agree(net: QuantisedGraph, seed: int = 0) -> dict[str, np.ndarray]:
    fast, slow = Executor(net.graph(), engine="onnxruntime"), Executor(net.graph(), engine="numpy")
    inputs = random_input(fast, seed)
    expected, got = slow.run(inputs, "all"), fast.run(inputs, "all")
    assert list(expected) == list(got)
    for name, array in expected.items():
        assert array.dtype == got[name].dtype == np.int8
        assert np.array_equal(got[name], array), name
    return expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", ["tinyyolo_nocorr", "tinyyolo_default", "spp_nocorr"])
def test_every_tensor_equals_the_real_quantisers(shared_data: Path, case: str, engine: EngineName) -> None:
    """All int8 tensors of the reference networks equal those of the real pytorch_nndct, bit for bit."""
    folder = shared_data / "nndct_reference"
    executor = Executor(xmodel.load(folder / f"{case}.int.xmodel"), engine=engine)
    reference = np.load(folder / f"{case}.npz")
    trace = json.loads((folder / f"{case}.names.json").read_text())
    picture = reference["input"].transpose(0, 2, 3, 1)
    source = executor.inputs[0]
    got = executor.run({source.name: quantise(picture, source.fix_point)}, "all")
    by_plain_name = {plain(name): array for name, array in got.items()}
    keys = [key for key in reference.files if key.startswith("int8/")]
    assert len(keys) >= 7
    for key in keys:
        array = by_plain_name[plain(trace[key.removeprefix("int8/")]) + "_fix"]
        assert np.array_equal(array, reference[key]), key


@pytest.mark.parametrize("engine", ENGINES)
def test_every_tensor_of_cfg_tiny_equals_the_real_quantisers(shared_data: Path, engine: EngineName) -> None:
    """cfg_tiny: every layer's int8 tensor of three pictures, and the heads, equal the golden ones."""
    folder = shared_data / "nndct_reference" / "cfg_tiny"
    executor = Executor(xmodel.load(folder / "CfgTiny_int.xmodel"), engine=engine)
    golden = np.load(folder / "golden.npz")
    positions = executor.tensors()
    for picture in ("test00", "test01", "test02"):
        source = executor.inputs[0].name
        got = executor.run({source: golden[f"int8/{picture}/input"]}, "all")
        layers = [key for key in golden.files if key.startswith(f"int8/{picture}/") and key.split("/")[2] != "input"]
        assert len(layers) == 18
        for key in layers:
            number = key.split("/")[2]
            if number == "17":  # the concat (a route), which has no module of its own in the trace
                name = "CfgTiny__CfgTiny_ret_61_fix"
            else:
                pattern = re.compile(rf"_(act|pool|conv){number}_.*fix$")
                matching = [name for name in got if pattern.search(name)]
                name = min(matching, key=lambda n: "_conv" in n)
            assert np.array_equal(got[name], golden[key]), key
        for head, layer in ((0, 12), (1, 20)):
            name = next(name for name in positions if f"_conv{layer}_" in name)
            assert np.array_equal(got[name], golden[f"out/{picture}/HEAD{head}"])
            assert positions[name].fix_point == golden[f"out/{picture}/HEAD{head}/fix_point"]


def test_hand_made_leaky_convolution() -> None:
    """2 * 3 * 5 + bias at position 10: a leaky product is rounded once, and halves go up."""
    net = QuantisedGraph()
    x = net.data("x", (1, 1, 1, 1), 4)
    weights = np.array([[[[64]]], [[[-64]]], [[[1]]]], np.int8)
    net.conv("c", x, weights, 6, np.array([0, 0, 1], np.int8), 7, 4)
    for engine in ENGINES:
        executor = Executor(net.graph(), engine=engine)
        for value in (-128, -5, 0, 7, 127):
            got = executor.run({"x_fix": np.full((1, 1, 1, 1), value, np.int8)})["c_act_fix"].ravel().tolist()
            sums = [64 * value * 2**0, -64 * value, value]  # at position 10
            exact = [s / 2**10 for s in sums]
            exact[2] += 1 / 2**7
            leaky = [e if e >= 0 else e * 26 / 256 for e in exact]
            assert got == [int(min(127, max(-128, np.floor(v * 16 + 0.5)))) for v in leaky]


def test_float32_is_not_trusted_where_it_is_inexact() -> None:
    """A layer whose accumulator passes 2^24 takes the exact path, and float32 alone would have been wrong."""
    net = QuantisedGraph()
    x = net.data("x", (1, 3, 3, 512), 0)
    rng = np.random.default_rng(1)
    weights = np.full((8, 3, 3, 512), 127, np.int8)
    weights[:, :, :, 256:] = -127
    weights[:, 1, 1, 3] = rng.integers(-128, 128, 8)
    net.conv("c", x, weights, 0, np.arange(8, dtype=np.int8), 0, 0, None)
    fast = Executor(net.graph(), engine="onnxruntime")
    step = fast.program.steps[0]
    assert isinstance(step, Convolution)
    way = plan(step)
    assert not way.float32 and len(way.groups) >= 5
    # All ones of the largest kind in both halves: the two sums of 37 million cancel down to a few units.
    inputs = {"x_fix": np.full((1, 3, 3, 512), 127, np.int8)}
    slow = Executor(net.graph(), engine="numpy").run(inputs)["c_fix"]
    assert np.array_equal(fast.run(inputs)["c_fix"], slow)
    assert_engines_agree(net)


def test_proof_covers_the_worst_input() -> None:
    """Where float32 is chosen, no input can carry a partial sum past 2^24 units."""
    rng = np.random.default_rng(2)
    net = QuantisedGraph()
    x = net.data("x", (1, 4, 4, 40), 5)
    net.random_conv("c", x, 6, 3, rng, 4, spread=60.0, bias_fix_point=11)
    step = Executor(net.graph(), engine="numpy").program.steps[0]
    assert isinstance(step, Convolution) and step.bias is not None
    position = step.input.fix_point + step.weights_fix_point
    finer = max(position, step.bias_fix_point)
    worst = np.abs(step.weights.astype(np.int64)).sum(axis=(1, 2, 3)) * 128 << (finer - position)
    worst += np.abs(step.bias.astype(np.int64)) << (finer - step.bias_fix_point)
    assert plan(step).float32 == bool(worst.max() <= 2**24)


@pytest.mark.parametrize("activation", ["leaky-relu", "relu", None])
@pytest.mark.parametrize("fix_point", [-1, 3, 8, 13])
@pytest.mark.parametrize("bias_fix_point", [2, 9, 15])
def test_engines_agree_on_convolutions(activation: str | None, fix_point: int, bias_fix_point: int) -> None:
    """Both engines give equal integers for every activation, coarse and fine outputs, coarse and fine biases."""
    rng = np.random.default_rng(7)
    net = QuantisedGraph()
    x = net.data("x", (1, 9, 7, 5), 4)
    x = net.random_conv("c1", x, 12, 3, rng, fix_point, activation, 2, 6, bias_fix_point)
    net.random_conv("c2", x, 3, 1, rng, 5, None, 1, 6, 5)
    assert_engines_agree(net)


@pytest.mark.parametrize("seed", range(12))
def test_engines_agree_on_random_graphs(seed: int) -> None:
    """Random graphs of all operators, at random positions: equal in every tensor."""
    rng = np.random.default_rng(seed)

    def position() -> int:
        return int(rng.integers(2, 8))

    net = QuantisedGraph()
    x = net.data("x", (1, 16, 24, int(rng.integers(1, 5))), position())
    ends = []
    for depth in range(3):
        kinds = rng.choice(["leaky-relu", "relu", ""], 3)
        x = net.random_conv(f"a{depth}", x, int(rng.integers(1, 24)), 3, rng, position(), str(kinds[0]) or None)
        y = net.random_conv(f"b{depth}", x, net.shapes[x][3], 1, rng, position(), str(kinds[1]) or None)
        x = net.add(f"add{depth}", [x, y], position())
        pooled = net.max_pool(f"pool{depth}", x, 2, 2, position() if rng.random() < 0.5 else None)
        straight = net.random_conv(f"d{depth}", pooled if pooled.endswith("_fix") else x, 7, 1, rng, None)
        if net.shapes[straight][1] < net.shapes[x][1]:
            straight = net.upsample(f"up{depth}", straight, 2, None)
        up = net.upsample(f"uq{depth}", pooled, 2, position() if rng.random() < 0.5 else None)
        spp = net.max_pool(f"spp{depth}", x, 5, 1, None, (2, 2, 2, 2))
        joined = net.concat(f"cat{depth}", [up, straight, x, spp], position())
        ends.append(net.random_conv(f"head{depth}", joined, 9, 1, rng, position(), None))
        x = net.max_pool(f"down{depth}", x, 2, 2, position())
    tensors = assert_engines_agree(net, seed)
    assert all(end in tensors for end in ends)
    assert np.mean([len(np.unique(tensors[end])) for end in ends]) > 8  # not all saturated


def test_tensors_may_have_any_name() -> None:
    """Names like those that the fast engine gives to its own nodes."""
    net, rng = IntegerGraph(), np.random.default_rng(0)
    names = [net.data(name, (1, 2, 2, 3), 5) for name in ("t0", "c0", "out:sum")]
    net.op("sum", "eltwise-fix", (1, 2, 2, 3), 4, names, type="ADD")
    net.run({name: rng.integers(-128, 128, (1, 2, 2, 3), dtype=np.int8) for name in names})


def test_a_conv_before_a_concat_is_rounded_once() -> None:
    """A convolution without a fix of its own takes the concat's position, not one of its own first."""
    net = QuantisedGraph()
    x = net.data("x", (1, 1, 1, 1), 0)
    one = np.array([[[[1]]]], np.int8)
    a = net.conv("a", x, one, 2, None, 0, None, None)
    up = net.upsample("up", a, 2, None)
    b = net.upsample("b", net.conv("bc", x, one, 0, None, 0, 0, None), 2, 1)
    net.concat("cat", [up, b], 0)
    executor = Executor(net.graph())
    assert executor.tensors()["a"].fix_point == executor.tensors()["up"].fix_point == 0
    got = executor.run({"x_fix": np.full((1, 1, 1, 1), 6, np.int8)})["cat_fix"]
    assert got[0, 0, 0].tolist() == [2, 6]  # 6 * 2^-2 = 1.5 -> 2


def test_many_threads_share_an_executor() -> None:
    """Four threads that run at the same time get what one gets alone."""
    rng = np.random.default_rng(0)
    net = QuantisedGraph()
    x = net.random_conv("c1", net.data("x", (1, 32, 32, 3), 6), 16, 3, rng, 4)
    net.random_conv("c2", x, 8, 3, rng, 4)
    executor = Executor(net.graph())
    inputs = [random_input(executor, seed) for seed in range(4)]
    assert not differing_in_threads(executor.run, inputs, "c2_act_fix")


def test_wrong_inputs_are_named() -> None:
    """A missing tensor, another shape or type raise RunError that says what was expected."""
    net = QuantisedGraph()
    net.random_conv("c", net.data("x", (1, 4, 4, 3), 6), 2, 1, np.random.default_rng(0), 4)
    executor = Executor(net.graph())
    good = np.zeros((1, 4, 4, 3), np.int8)
    for inputs, message in (
        ({}, "expected inputs"),
        ({"y": good}, "expected inputs"),
        ({"x_fix": good.transpose(0, 3, 1, 2)}, r"expected int8 of shape \[1, 4, 4, 3\]"),
        ({"x_fix": good.astype(np.float32)}, "found float32"),
    ):
        with pytest.raises(RunError, match=message):
            executor.run(inputs)


def test_compiled_weights_come_from_the_parameter_block(shared_data: Path) -> None:
    """The first DPU subgraph of the real 2.0 and 2.5 files has equal outputs: same net, two compilers."""
    outputs = []
    for version in ("2.0", "2.5"):
        graph = xmodel.load(shared_data / "xmodels" / f"zcu104_vai{version}_small_cnn.xmodel")
        fast = Executor(graph, graph.subgraphs("DPU")[0])
        slow = Executor(graph, graph.subgraphs("DPU")[0], engine="numpy")
        inputs = random_input(fast)
        outputs.append(fast.run(inputs))
        assert all(np.array_equal(array, slow.run(inputs)[name]) for name, array in outputs[-1].items())
    assert [list(o) for o in outputs] == [["quant_max_pooling2d_1_fix"]] * 2
    assert outputs[0]["quant_max_pooling2d_1_fix"].std() > 0
    assert np.array_equal(outputs[0]["quant_max_pooling2d_1_fix"], outputs[1]["quant_max_pooling2d_1_fix"])


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("zcu104_vai2.0_small_cnn", 0),
        ("zcu104_vai2.0_small_cnn", 1),
        ("zcu104_vai2.5_small_cnn", 0),
        ("zcu104_vai2.5_small_cnn", 1),
        pytest.param("zcu104_vai3.0_pointpillars", 0, marks=pytest.mark.slow),
        ("zcu104_vai3.0_pointpillars", 1),
    ],
)
def test_every_dpu_subgraph_of_the_real_files_runs(shared_data: Path, name: str, index: int) -> None:
    """Both engines give equal integers in every tensor of the compiled models, and not all saturated ones."""
    graph = xmodel.load(shared_data / "xmodels" / f"{name}.xmodel")
    subgraph = graph.subgraphs("DPU")[index]
    fast, slow = Executor(graph, subgraph, engine="onnxruntime"), Executor(graph, subgraph, engine="numpy")
    inputs = random_input(fast)
    expected, got = slow.run(inputs, "all"), fast.run(inputs, "all")
    assert all(np.array_equal(got[tensor], array) for tensor, array in expected.items())
    assert all(array.std() > 0 for array in expected.values())


def test_what_is_not_one_dpu_subgraph_is_refused(shared_data: Path) -> None:
    """Models cut in two, for another family, or without DPU work are refused by name."""
    for name, message in (
        ("zcu104_vai2.5_small_cnn", "found 2"),
        ("vck190_vai1.4.1_densebox", "found one for DPUCVDX8G"),
        ("not_a_dpu_graph_lstm", "found 0"),
        ("quantised_only_voxelnet_int", "VoxelNet__input_1|found 2"),
    ):
        with pytest.raises(UnsupportedModelError, match=message):
            Executor(xmodel.load(shared_data / "xmodels" / f"{name}.xmodel"))
