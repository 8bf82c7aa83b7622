"""Whole models: AMD's compiled samples end to end, compiled against quantised, custom operators, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dpu import xmodel
from dpu.errors import DpuError, RunError, UnsupportedModelError, XmodelError
from dpu.executor import EngineName
from dpu.graph import Attr, Graph
from dpu.graph_runner import GraphRunner
from dpu.testing import QuantisedGraph, differing_in_threads

ENGINES: list[EngineName] = ["onnxruntime", "numpy"]
SAMPLES = ("zcu104_vai2.0_small_cnn", "zcu104_vai2.5_small_cnn", "zcu104_vai3.0_pointpillars")


def sample(shared_data: Path, name: str) -> Graph:
    return xmodel.load(shared_data / "xmodels" / f"{name}.xmodel")


def random_input(runner: GraphRunner, seed: int = 0) -> dict[str, np.ndarray]:
    """int8 noise; for PointPillars' places (batch, z, y, x) of 11,000 pillars, then -1."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for tensor in runner.inputs:
        if tensor.dtype == "int8":
            inputs[tensor.name] = rng.integers(-128, 128, tensor.shape, dtype=np.int8)
        else:
            places = np.zeros(tensor.shape, np.float32)
            places[0, :, 2] = rng.integers(0, 496, tensor.shape[1])
            places[0, :, 3] = rng.integers(0, 432, tensor.shape[1])
            places[0, 11000:, 3] = -1
            inputs[tensor.name] = places
    return inputs


def custom_net(kind: str = "Double") -> Graph:
    """A convolution, an operator that only a file can supply, a convolution."""
    rng = np.random.default_rng(0)
    net = QuantisedGraph("custom")
    x = net.random_conv("c1", net.data("x", (1, 4, 4, 3), 5), 4, 3, rng, 4, "relu")
    attrs = {"shape": Attr("int32_vec", (1, 4, 4, 4)), "data_type": Attr("string", "FLOAT32")}
    x = net.move("own", kind, x, (1, 4, 4, 4), {**attrs, "factor": Attr("float", 2.0)}, 3)
    net.random_conv("c2", x, 5, 3, rng, 3, None)
    return net.graph()


DOUBLE = """
import numpy as np

class Double:
    def __init__(self, op):
        self.factor = op.get_attr("factor")

    def calculate(self, output, input):
        x = np.array(input[0], copy=False)
        assert list(x.shape) == input[0].get_tensor().dims == output.get_tensor().dims
        out = np.asarray(output)
        out[:] = x * self.factor
"""


@pytest.mark.parametrize("name", [*SAMPLES[:2], pytest.param(SAMPLES[2], marks=pytest.mark.slow)])
def test_compiled_samples_run_end_to_end(shared_data: Path, name: str) -> None:
    """From the input to the last tensor on the CPU, whatever stands between; twice the same."""
    runner = GraphRunner(sample(shared_data, name))
    inputs = random_input(runner)
    got, again = runner.run(inputs), runner.run(inputs)
    assert tuple(got) == runner.outputs
    known = runner.tensors()
    for key, array in got.items():
        assert str(array.dtype) == known[key].dtype and array.shape == known[key].shape
        assert array.std() > 0 and np.array_equal(array, again[key])
    assert {array.dtype for array in got.values()} == {np.dtype(np.int8), np.dtype(np.float32)}


@pytest.mark.parametrize("engine", ENGINES)
def test_two_compilers_give_the_same_net(shared_data: Path, engine: EngineName) -> None:
    """The small CNN of 2.0 and 2.5, cut in different places, ends in equal numbers on several inputs."""
    old, new = (GraphRunner(sample(shared_data, name), engine) for name in SAMPLES[:2])
    for seed in range(4):
        inputs = random_input(old, seed)
        one, other = list(old.run(inputs).values())[-1], list(new.run(inputs).values())[-1]
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("engine", "seeds"), [("onnxruntime", (0, 1)), pytest.param("numpy", (2, 3), marks=pytest.mark.slow)]
)
def test_compiled_pointpillars_equals_its_quantised_source(
    shared_data: Path, engine: EngineName, seeds: tuple[int, ...]
) -> None:
    """Every tensor that AMD's compiled file shares with the quantiser's file, every integer: 29 by name, 3 by layer.

    The compiler calls the three transposed convolutions before the concat NAME_inserted_fix_N.
    """
    compiled = GraphRunner(sample(shared_data, "zcu104_vai3.0_pointpillars"), engine)
    quantised = GraphRunner(sample(shared_data, "quantised_only_voxelnet_int"), engine)
    for seed in seeds:
        inputs = random_input(compiled, seed)
        expected, got = quantised.run(inputs, "all"), compiled.run(inputs, "all")
        names = {name: name for name in got if name in expected}
        inserted = {name: name.rpartition("_inserted_fix_")[0] for name in got if "_inserted_fix_" in name}
        assert len(names) == 29 and len(inserted) == 3
        for name, source in {**names, **inserted}.items():
            assert got[name].dtype == expected[source].dtype
            assert np.array_equal(got[name], expected[source]), name
        integers = [name for name in names if got[name].dtype == np.int8]
        assert len(integers) == 24 and all(got[name].std() > 0 for name in integers)


def test_pointpillars_weights_are_the_quantised_sources(shared_data: Path) -> None:
    """All 23 layers: weights and biases in the compiled parameter block are the source's, at the same positions."""
    parts = []
    for name in ("zcu104_vai3.0_pointpillars", "quantised_only_voxelnet_int"):
        executors = GraphRunner(sample(shared_data, name), "numpy").executors
        steps = [step for executor in executors for step in executor.program.steps]
        parts.append({_layer(step.output.name): step for step in steps if hasattr(step, "weights")})
    compiled, quantised = parts
    assert len(compiled) == 23 and set(compiled) == set(quantised)
    for name, step in compiled.items():
        assert np.array_equal(step.weights, quantised[name].weights)
        assert np.array_equal(step.bias, quantised[name].bias)
        assert step.weights_fix_point == quantised[name].weights_fix_point


def _layer(tensor: str) -> str:
    return tensor.rpartition("_inserted_fix_")[0] or tensor


def test_a_custom_operator_from_a_folder(tmp_path: Path) -> None:
    """AMD's form of a file runs unchanged between two DPU parts, on integers exactly."""
    (tmp_path / "Double.py").write_text(DOUBLE)
    runner = GraphRunner(custom_net(), "numpy", ops_folder=tmp_path)
    x = {"x_fix": np.random.default_rng(0).integers(-128, 128, (1, 4, 4, 3), dtype=np.int8)}
    got = runner.run(x, "all")
    doubled = got["c1_act_fix"].astype(np.int64) * 2.0 / 2  # times two, from 2^-4 to 2^-3
    assert np.array_equal(got["own_fix"], np.clip(np.floor(doubled + 0.5), -128, 127))
    assert runner.outputs == ("c1_act_fix", "c2_fix")


def test_a_known_operator_can_be_replaced_by_ones_own(tmp_path: Path) -> None:
    """A file in the named folder comes before what this package has."""
    (tmp_path / "sigmoid.py").write_text(DOUBLE.replace("Double", "sigmoid"))
    mine = GraphRunner(custom_net("sigmoid"), "numpy", ops_folder=tmp_path).tensors()
    assert "own_fix" in mine
    x = {"x_fix": np.full((1, 4, 4, 3), 9, np.int8)}
    given = GraphRunner(custom_net("sigmoid"), "numpy").run(x, "all")["own_fix"]
    own = GraphRunner(custom_net("sigmoid"), "numpy", ops_folder=tmp_path).run(x, "all")["own_fix"]
    assert not np.array_equal(given, own)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"'own' \(Double\) in subgraph 'subgraph_.*Supply it: write Double.py"),
        ("class Other: pass", "expected a class Double"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("def broken(", "SyntaxError"),
        (DOUBLE.replace('"factor"', '"nothing"'), r"'own' \(Double\): .*Double.py raised"),
    ],
)
def test_a_missing_or_broken_custom_operator_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    """Operator, type and remedy, before anything runs."""
    if content is not None:
        (tmp_path / "Double.py").write_text(content)
    with pytest.raises(DpuError, match=message):
        GraphRunner(custom_net(), "numpy", ops_folder=tmp_path)


def test_what_a_custom_operator_raises_is_told(tmp_path: Path) -> None:
    """An exception in `calculate` becomes an error with the operator and the file."""
    (tmp_path / "Double.py").write_text(DOUBLE.replace("out[:] = x", "out[:] = x[:, :1, :2]"))
    runner = GraphRunner(custom_net(), "numpy", ops_folder=tmp_path)
    with pytest.raises(RunError, match=r"'own' \(Double\): .*Double.py raised ValueError"):
        runner.run({"x_fix": np.zeros((1, 4, 4, 3), np.int8)})


def test_a_type_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """The file names the type; only names within the folder are looked for."""
    (tmp_path / "Double.py").write_text(DOUBLE)
    (tmp_path / "inner").mkdir()
    with pytest.raises(UnsupportedModelError, match="on the CPU: expected a known type"):
        GraphRunner(custom_net("../Double"), "numpy", ops_folder=tmp_path / "inner")


def test_float_input_is_quantised() -> None:
    """float32 for an int8 tensor is rounded half up at its position."""
    net = QuantisedGraph()
    net.random_conv("c", net.data("x", (1, 2, 2, 3), 4), 5, 1, np.random.default_rng(0), 3, None)
    runner = GraphRunner(net.graph())
    x = np.linspace(-9, 9, 12, dtype=np.float32).reshape(1, 2, 2, 3)
    integers = np.clip(np.floor(x.astype(np.float64) * 16 + 0.5), -128, 127).astype(np.int8)
    assert np.array_equal(runner.run({"x_fix": x})["c_fix"], runner.run({"x_fix": integers})["c_fix"])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"expected inputs \['x_fix'\]"),
        ({"x_fix": np.zeros((1, 2, 2, 3), np.int8), "y": np.zeros(1)}, "found .*'y'"),
        ({"x_fix": np.zeros((1, 3, 2, 2), np.int8)}, r"expected int8 or float32 of shape \[1, 2, 2, 3\] \(NHWC\)"),
        ({"x_fix": np.zeros((1, 2, 2, 3), np.float64)}, "found float64"),
        ({"x_fix": np.zeros((1, 2, 2, 3), np.uint8)}, "found uint8"),
        ({"x_fix": np.full((1, 2, 2, 3), np.nan, np.float32)}, "NaN"),
        ({"x_fix": np.full((1, 2, 2, 3), np.inf, np.float32)}, "infinity"),
    ],
)
def test_wrong_inputs_are_named(inputs: dict[str, np.ndarray], message: str) -> None:
    """Count, name, shape, type and NaN each have their error."""
    net = QuantisedGraph()
    net.random_conv("c", net.data("x", (1, 2, 2, 3), 4), 5, 1, np.random.default_rng(0), 3, None)
    with pytest.raises(RunError, match=message):
        GraphRunner(net.graph(), "numpy").run(inputs)


def test_what_is_not_for_this_dpu_is_refused(shared_data: Path) -> None:
    """A float model and another DPU family are refused, with what to do."""
    with pytest.raises(UnsupportedModelError, match="a float model, where int8 is needed. Quantise it first"):
        GraphRunner(sample(shared_data, "not_a_dpu_graph_lstm"))
    with pytest.raises(UnsupportedModelError, match="found one for DPUCVDX8G"):
        GraphRunner(sample(shared_data, "vck190_vai1.4.1_densebox"))


def test_a_wrong_shape_on_the_cpu_is_named() -> None:
    """A softmax whose declared tensor has another shape than its input."""
    net = QuantisedGraph()
    x = net.random_conv("c", net.data("x", (1, 2, 2, 3), 4), 5, 1, np.random.default_rng(0), 3, None)
    net.move("soft", "softmax", x, (1, 2, 5), {"axis": Attr("int32", 3)}, None)
    runner = GraphRunner(net.graph(), "numpy")
    with pytest.raises(XmodelError, match=r"'soft' \(softmax\) on the CPU: its tensor has shape \[1, 2, 5\]"):
        runner.run({"x_fix": np.zeros((1, 2, 2, 3), np.int8)})


def test_threads_share_a_runner(tmp_path: Path) -> None:
    """Four threads that run at the same time, a custom operator between, get what one gets alone."""
    (tmp_path / "Double.py").write_text(DOUBLE)
    runner = GraphRunner(custom_net(), ops_folder=tmp_path)
    rng = np.random.default_rng(0)
    inputs = [{"x_fix": rng.integers(-128, 128, (1, 4, 4, 3), dtype=np.int8)} for _ in range(4)]
    assert not differing_in_threads(runner.run, inputs, "c2_fix")


def test_the_command_takes_several_inputs_and_custom_operators(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`xmodel run --input TENSOR=FILE` once for each input, `--ops FOLDER`; a missing one is named."""
    import roadslim

    net = QuantisedGraph("two")
    rng = np.random.default_rng(0)
    a, b = (net.random_conv(f"c{n}", net.data(n, (1, 4, 4, 3), 5), 4, 3, rng, 4, "relu") for n in "ab")
    attrs = {"shape": Attr("int32_vec", (1, 4, 4, 4)), "data_type": Attr("string", "FLOAT32")}
    net.move("own", "Double", net.add("sum", [a, b], 4), (1, 4, 4, 4), {**attrs, "factor": Attr("float", 2.0)}, None)
    xmodel.save(net.graph(), tmp_path / "two_int.xmodel")
    (tmp_path / "Double.py").write_text(DOUBLE)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", rng.normal(0, 1, (1, 4, 4, 3)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    command = ["xmodel", "run", "two_int.xmodel", "--output", "out.npz", "--ops", ".", "--input", "a_fix=a.npy"]
    assert roadslim.main([*command, "--input", "b_fix=b.npy"]) == 0
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["sum_fix"].dtype == np.int8 and arrays["own"].dtype == np.float32
        assert np.array_equal(arrays["own"], arrays["sum_fix"] * np.float32(2 / 16))
    capsys.readouterr()
    for extra, message in (
        ([], "found none for ['b_fix']"),
        (["--input", "a_fix=b.npy"], "a second file for it"),
        (["--input", "b.npy"], "no name"),
        (["--input", "c_fix=b.npy"], "a file for 'c_fix'"),
        (["--input", "b_fix=two_int.xmodel"], "numpy.save"),
    ):
        assert roadslim.main([*command, *extra]) == 1
        assert message in capsys.readouterr().err
