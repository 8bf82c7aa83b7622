"""CPU subgraphs and whole graphs through the stand-ins."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpu import xmodel
from dpu.errors import RunError, UnsupportedModelError
from dpu.graph_runner import GraphRunner

SMALL_CNN = "zcu104_vai2.5_small_cnn.xmodel"


@pytest.fixture
def small_cnn(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A real compiled model with two DPU and two CPU subgraphs, on its own DPU."""
    monkeypatch.setenv("ROADSLIM_DPU_FINGERPRINT", "0x101000016010407")
    return shared_data / "xmodels" / SMALL_CNN


def test_a_runner_for_each_subgraph(amd: Any, small_cnn: Path) -> None:
    """DPU, CPU, DPU, CPU by hand, each with its own runner and buffers: the whole model's numbers."""
    root = amd.xir.Graph.deserialize(str(small_cnn)).get_root_subgraph()
    picture = np.random.default_rng(0).integers(-128, 128, (1, 28, 28, 1), dtype=np.int8)
    held = {"quant_input_1": picture}
    devices = []
    for part in root.toposort_child_subgraph()[1:]:
        runner = amd.vart.Runner.create_runner(part, "run")
        outputs = runner.get_output_tensors()
        found = [np.zeros(t.dims, np.int8 if t.dtype == "xint8" else np.float32) for t in outputs]
        assert runner.wait(runner.execute_async([held[t.name] for t in runner.get_input_tensors()], found)) == 0
        held.update(zip((tensor.name for tensor in outputs), found, strict=True))
        devices.append(part.get_attr("device"))
    assert devices == ["DPU", "CPU", "DPU", "CPU"]
    expected = GraphRunner(xmodel.load(small_cnn)).run({"quant_input_1": picture})
    for name in set(expected) & set(held):
        assert np.array_equal(held[name], expected[name]), name
    assert held["quant_dense_sigmoid_sigmoid_fix_"].dtype == np.float32


def test_the_graph_runner(amd: Any, small_cnn: Path) -> None:
    """vitis_ai_library's runner gives the whole model's output, with buffers of its own or a user's."""
    runner = amd.vitis_ai_library.GraphRunner.create_graph_runner(amd.xir.Graph.deserialize(str(small_cnn)))
    (source,), (target,) = runner.get_inputs(), runner.get_outputs()
    assert isinstance(runner, amd.vart.RunnerExt) and target.get_tensor().dims == [1, 10]
    picture = np.random.default_rng(0).integers(-128, 128, (1, 28, 28, 1), dtype=np.int8)
    np.asarray(source)[:] = picture
    runner.wait(runner.execute_async([source], [target]))
    expected = GraphRunner(xmodel.load(small_cnn)).run({"quant_input_1": picture})[target.get_tensor().name]
    assert np.array_equal(np.asarray(target), expected) and np.ptp(expected) > 0
    own = np.zeros((1, 10), np.float32)
    runner.execute_async([picture], [own])
    assert np.array_equal(own, expected)


def test_inputs_stand_in_the_order_of_the_subgraphs(amd: Any, shared_data: Path) -> None:
    """As AMD's PointPillars sample expects: first the coordinates, then the int8 points."""
    path = shared_data / "xmodels" / "zcu104_vai3.0_pointpillars.xmodel"
    runner = amd.vitis_ai_library.GraphRunner.create_graph_runner(amd.xir.Graph.deserialize(str(path)))
    tensors = [buffer.get_tensor() for buffer in runner.get_inputs()]
    assert [(t.dims, t.dtype) for t in tensors] == [([1, 12000, 4], "float32"), ([1, 12000, 100, 4], "xint8")]
    assert [b.get_tensor().dims[-1] for b in runner.get_outputs()] == [42, 18, 12]


def test_cpu_subgraphs_take_their_own_type_only(amd: Any, small_cnn: Path) -> None:
    """Float for an int8 tensor ends the real process on the CPU; on the DPU it is converted."""
    parts = amd.xir.Graph.deserialize(str(small_cnn)).get_root_subgraph().toposort_child_subgraph()
    runner = amd.vart.Runner.create_runner(parts[2], "run")
    out = np.zeros(runner.get_output_tensors()[0].dims, np.int8)
    with pytest.raises(RunError, match="is xint8, found float32 .the real vart aborts"):
        runner.execute_async([np.zeros((1, 2, 2, 64), np.float32)], [out])
    with pytest.raises(RunError, match="has no runner"):
        amd.vart.Runner.create_runner(parts[0], "run")  # USER
    for mode in ("ref", "sim"):
        with pytest.raises(RunError, match=f"mode '{mode}' needs libvart"):
            amd.vart.Runner.create_runner(parts[1], mode)


def custom(xir: Any) -> Any:
    """A float graph, one operator of which XIR does not know, all of it placed on the CPU."""
    graph = xir.Graph("custom")
    x = graph.create_op("x", "data", {"shape": [1, 6], "data_type": "FLOAT32"})
    own = {"shape": [1, 6], "data_type": "FLOAT32", "factor": 2.5}
    y = graph.create_op("y", "TimesFactor", own, {"input": [x]})
    graph.create_op("z", "relu", input_ops={"input": [y]})
    root = graph.get_root_subgraph()
    root.create_child_subgraph()
    part = root.merge_children({graph.get_leaf_subgraph(graph.get_op(name)) for name in "yz"})
    part.set_attr("device", "CPU")
    part.set_attr("runner", {"run": "libvart-cpu-runner.so"})
    return graph


def test_custom_operators_on_the_path(amd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package vart_op_imp on the Python path is where operators of a user's own are found, as on the board."""
    graph = custom(amd.xir)
    with pytest.raises(UnsupportedModelError, match="TimesFactor"):
        amd.vitis_ai_library.GraphRunner.create_graph_runner(graph)
    folder = tmp_path / "vart_op_imp"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "TimesFactor.py").write_text(
        textwrap.dedent(
            """
            import numpy as np

            class TimesFactor:
                def __init__(self, op):
                    self.factor = op.get_attr("factor")

                def calculate(self, output, input):
                    np.array(output, copy=False)[:] = np.array(input[0], copy=False) * self.factor
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    runner = amd.vitis_ai_library.GraphRunner.create_graph_runner(graph)
    values, out = np.arange(-3, 3, dtype=np.float32)[None], np.zeros((1, 6), np.float32)
    runner.wait(runner.execute_async([values], [out]))
    assert out.tolist() == [[0, 0, 0, 0, 2.5, 5.0]]


@pytest.mark.parametrize(
    ("op_type", "change", "message"),
    [
        ("fix2float", {"dtype": "int32"}, "found int32, which no buffer here holds"),
        ("download", {"shape": (1, 5)}, r"expected \[1, 5\], as the file says, found that the model gives"),
    ],
)
def test_tensors_that_the_file_tells_wrongly(
    amd: Any, small_cnn: Path, op_type: str, change: dict[str, Any], message: str
) -> None:
    """Another type or shape than the computed one is an error of the package, not of numpy."""
    model = xmodel.load(small_cnn)
    last = max(index for index, op in enumerate(model.ops) if op.type == op_type)
    model.ops[last] = replace(model.ops[last], output=replace(model.ops[last].output, **change))
    parts = amd.xir.Graph.of(model).get_root_subgraph().toposort_child_subgraph()
    part = next(part for part in parts if part.has_op(model.ops[last].name))
    with pytest.raises(RunError, match=message):
        runner = amd.vart.RunnerExt.create_runner(part, "run")
        runner.execute_async(runner.get_inputs(), runner.get_outputs())
