"""From quantised to integer graphs: the form, the names, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpu import xmodel
from dpu.errors import DpuError, UnsupportedModelError, XmodelError
from dpu.executor import Executor
from dpu.graph import Attr, Graph
from dpu.lowering import is_quantised, lower
from dpu.testing import QuantisedGraph


def small_net() -> QuantisedGraph:
    rng = np.random.default_rng(0)
    net = QuantisedGraph("small")
    x = net.random_conv("c1", net.data("x", (1, 8, 8, 3), 6), 16, 3, rng, 4)
    y = net.random_conv("c2", x, 16, 1, rng, 4)
    net.random_conv("head", net.add("sum", [x, y], 4), 18, 1, rng, 3, None)
    return net


def test_form_of_a_compiled_graph() -> None:
    """USER inputs, one DPU subgraph of upload, layers and download, named and attributed as compiled files are."""
    graph = lower(small_net().graph())
    assert graph.root is not None
    assert [child.device for child in graph.root.children] == ["USER", "DPU"]
    dpu = graph.subgraphs("DPU")[0]
    assert dpu.value("dpu_name") == "DPUCZDX8G_ISA1_B4096" and dpu.value("runner")["run"] == "libvart-dpu-runner.so"
    kinds = [op.type for op in graph.ops if op.type != "const-fix"]
    assert kinds == ["data-fix", "upload", "conv2d-fix", "conv2d-fix", "eltwise-fix", "conv2d-fix", "download"]
    ops = graph.op_by_name()
    assert ops["x"].output.name == "x_fix" and ops["x_upload_0"].output.name == "x_fix_upload_0"
    assert ops["c1"].output.name == "c1_act_fix" and ops["c1"].value("nonlinear") == "LEAKYRELU"
    assert ops["head"].output.name == "head_fix_download_0" and ops["head_download_0"].output.name == "head_fix"
    assert ops["head"].output.value("fix_point") == 3 and ops["head"].output.dtype == "xint8"
    assert [len(leaf.op_names) for leaf in dpu.children] == [1, 3, 3, 1, 3, 1]


def test_workload_equals_the_compilers(shared_data: Path) -> None:
    """workload and workload_on_arch of real compiled convolutions, transposed ones and pools are reproduced."""
    from dpu.workload import workload

    checked = 0
    for name in ("zcu104_vai2.5_small_cnn", "zcu104_vai3.0_pointpillars"):
        graph = xmodel.load(shared_data / "xmodels" / f"{name}.xmodel")
        ops = graph.op_by_name()
        for op in graph.ops:
            if op.attrs.get("workload"):
                mine = workload(op, ops[op.inputs["input"][0]].output.shape)
                assert mine[0] == op.value("workload"), op.name
                if op.output.shape[1] < 1000:  # the pillar layer is tiled in another way
                    assert mine[1] == op.value("workload_on_arch"), op.name
                checked += 1
    assert checked == 30


@pytest.mark.parametrize("name", ["tinyyolo_default.int", "spp_nocorr.int", "cfg_tiny/CfgTiny_int"])
def test_lowered_graphs_can_be_written_and_run(shared_data: Path, name: str) -> None:
    """A lowered graph is a sound file of its own and runs to the same integers."""
    graph = xmodel.load(shared_data / "nndct_reference" / f"{name}.xmodel")
    assert is_quantised(graph)
    lowered = lower(graph)
    again = xmodel.loads(xmodel.dumps(lowered))
    assert again == lowered and not is_quantised(again)
    first, second = Executor(graph), Executor(again)
    x = {v.name: np.random.default_rng(0).integers(-128, 128, v.shape, dtype=np.int8) for v in first.inputs}
    got = second.run(x)
    assert all(np.array_equal(array, got[key]) for key, array in first.run(x).items())


def change_op(graph: Graph, name: str, **attrs: Attr) -> None:
    for index, op in enumerate(graph.ops):
        if op.name == name:
            graph.ops[index] = replace(op, attrs={**op.attrs, **attrs})


def retype(graph: Graph, name: str, kind: str) -> None:
    for index, op in enumerate(graph.ops):
        if op.name == name:
            graph.ops[index] = replace(op, type=kind)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda g: retype(g, "c1_act", "sigmoid"), r"'c1' \(conv2d\) in subgraph 'root': it has no fix .* 'sigmoid'"),
        (lambda g: change_op(g, "c1_act", alpha=Attr("float", 0.1)), "slope 0.1; the DPU has only 26/256"),
        (lambda g: change_op(g, "c2", group=Attr("int32", 16)), "no grouped convolution"),
        (lambda g: change_op(g, "c2", dilation=Attr("int32_vec", (0, 1))), "dilation"),
        (lambda g: change_op(g, "c1_act_fix", bit_width=Attr("int32", 16)), "found 16 bits"),
        (lambda g: change_op(g, "c1_act_fix", round_mode=Attr("string", "STD_ROUND")), "STD_ROUND"),
        (lambda g: change_op(g, "c1_act_fix", fix_point=Attr("int32", 400)), "from -32 to 32"),
        (lambda g: change_op(g, "c1_act_fix", fix_point=Attr("int32", -20)), "bits apart"),
        (lambda g: change_op(g, "c1_weight", data=Attr("bytes", b"123")), "expected 1728 bytes"),
        (lambda g: change_op(g, "c1_bias", data=Attr("bytes", b"\x00\x00\xc0\x7f" * 16)), "NaN"),
        (lambda g: retype(g, "x", "const"), "nothing for a DPU to do"),
        (lambda g: change_op(g, "c1", stride=Attr("int32_vec", (2, 2))), r"give \[1, 4, 4, 16\]"),
    ],
)
def test_what_the_dpu_lacks_is_refused_by_name(spoil: Callable[[Graph], None], message: str) -> None:
    """Unknown operators, other slopes, widths, roundings and broken constants raise a clear error each."""
    graph = small_net().graph()
    spoil(graph)
    with pytest.raises((UnsupportedModelError, XmodelError), match=message):
        Executor(graph)


def test_a_returned_tensor_is_an_output_even_where_it_is_read() -> None:
    """`return_ops` of the quantiser adds outputs that later operators read too."""
    graph = small_net().graph()
    graph.attrs["return_ops"] = Attr("string_vec", ("c2_act_fix", "head_fix"))
    executor = Executor(graph)
    assert [value.name for value in executor.outputs] == ["c2_act_fix", "head_fix"]
    x = {"x_fix": np.random.default_rng(0).integers(-128, 128, (1, 8, 8, 3), dtype=np.int8)}
    expected = Executor(small_net().graph(), engine="numpy").run(x, "all")
    for name, array in executor.run(x).items():
        assert np.array_equal(array, expected[name])
    assert set(executor.tensors()) == set(expected)


def test_an_unquantised_output_is_refused() -> None:
    """A head without a fix has no position; it is not guessed."""
    net = QuantisedGraph()
    net.random_conv("c", net.data("x", (1, 4, 4, 3), 6), 2, 1, np.random.default_rng(0), None, None)
    with pytest.raises(UnsupportedModelError, match="not quantised"):
        lower(net.graph())


def test_an_unquantised_input_is_refused() -> None:
    """Data without a fix cannot enter the DPU."""
    net = QuantisedGraph()
    net.random_conv("c", net.data("x", (1, 4, 4, 3), None), 2, 1, np.random.default_rng(0), 4, None)
    with pytest.raises(UnsupportedModelError, match="input must be quantised"):
        lower(net.graph())


def test_mutated_files_end_in_an_error_or_a_run(shared_data: Path) -> None:
    """Random bytes changed in a real file give a DpuError, or a graph that lowers; nothing else, and quickly."""
    content = (shared_data / "nndct_reference" / "spp_nocorr.int.xmodel").read_bytes()
    end = content.index(b"REQUIRED") if b"REQUIRED" in content else 20000
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(300):
        mutated = bytearray(content)
        for place in rng.integers(0, min(end, 20000), 3):
            mutated[place] = int(rng.integers(0, 256))
        try:
            Executor(xmodel.loads(bytes(mutated)), engine="numpy")
        except DpuError:
            failed += 1
    assert failed > 100
