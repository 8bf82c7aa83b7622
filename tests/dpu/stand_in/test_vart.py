"""Runners on the software DPU, through the stand-in for vart."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dpu
from dpu import xmodel
from dpu.errors import RunError, UnsupportedModelError, XmodelError
from dpu.executor import Executor
from dpu.graph import Attr, Subgraph
from dpu.latency import layers_of_graph, predict
from dpu.lowering import lower


def dpu_subgraph(xir: Any, path: Path) -> Any:
    root = xir.Graph.deserialize(str(path)).get_root_subgraph()
    found = [
        s for s in root.toposort_child_subgraph() if s.has_attr("device") and s.get_attr("device").upper() == "DPU"
    ]
    assert len(found) == 1
    return found[0]


def test_the_usual_board_pattern(modules: tuple[Any, Any], model: Path) -> None:
    """Runner, tensors sorted by name, int8 in, int8 out, wait on the tuple: the executor's integers."""
    xir, vart = modules
    runner = vart.Runner.create_runner(dpu_subgraph(xir, model), "run")
    inputs, outputs = runner.get_input_tensors(), runner.get_output_tensors()
    assert [t.name for t in inputs] == ["x_fix"] and [t.name for t in outputs] == ["a_head_fix", "z_head_fix"]
    assert list(inputs[0].dims) == [1, 16, 16, 3] and inputs[0].dtype == "xint8" and inputs[0].ndim == 4
    assert [t.get_attr("fix_point") for t in inputs + outputs] == [6, 2, 3]
    assert inputs[0].get_element_num() == inputs[0].get_data_size() == 768
    picture = np.random.default_rng(1).integers(-128, 128, (1, 16, 16, 3), dtype=np.int8)
    got = [np.empty(tuple(t.dims), np.int8) for t in outputs]
    job = runner.execute_async([picture], got)
    assert isinstance(job, tuple) and runner.wait(job) == 0
    expected = Executor(xmodel.load(model)).run({"x_fix": picture})
    for tensor, array in zip(outputs, got, strict=True):
        assert np.array_equal(array, expected[tensor.name])


def test_float_buffers_are_truncated_in_and_scaled_out(modules: tuple[Any, Any], model: Path) -> None:
    """Float input is times 2^fix_point and cut towards zero, as VART copies; float output is times 2^-fix_point."""
    xir, vart = modules
    runner = vart.Runner.create_runner(dpu_subgraph(xir, model), "run")
    floats = np.random.default_rng(1).uniform(-1.9, 1.9, (1, 16, 16, 3)).astype(np.float32)
    got = [np.empty(tuple(t.dims), np.float32) for t in runner.get_output_tensors()]
    runner.wait(runner.execute_async([floats], got))
    expected = Executor(xmodel.load(model)).run({"x_fix": np.trunc(floats * 64).astype(np.int8)})
    assert np.array_equal(got[0], expected["a_head_fix"] / np.float32(4))
    assert np.array_equal(got[1], expected["z_head_fix"] / np.float32(8))


def test_float_values_too_large_wrap_as_a_cast_does(modules: tuple[Any, Any], model: Path) -> None:
    """There is no saturation: 2.0 at fix point 6 is 128, whose low eight bits are -128."""
    xir, vart = modules
    runner = vart.Runner.create_runner(dpu_subgraph(xir, model), "run")
    outs = [[np.empty(tuple(t.dims), np.int8) for t in runner.get_output_tensors()] for _ in range(2)]
    runner.execute_async([np.full((1, 16, 16, 3), 2.0, np.float32)], outs[0])
    runner.execute_async([np.full((1, 16, 16, 3), -128, np.int8)], outs[1])
    assert all(np.array_equal(a, b) for a, b in zip(*outs, strict=True))


def test_wait_takes_the_whole_tuple(modules: tuple[Any, Any], model: Path) -> None:
    """An int raises TypeError, as in the real binding."""
    xir, vart = modules
    runner = vart.Runner.create_runner(dpu_subgraph(xir, model), "run")
    with pytest.raises(TypeError, match="incompatible function arguments"):
        runner.wait(1)


def test_what_aborts_the_real_process_raises(modules: tuple[Any, Any], model: Path) -> None:
    """Wrong modes, dtypes, counts, layouts and sizes raise RunError that speaks of the real process."""
    xir, vart = modules
    subgraph = dpu_subgraph(xir, model)
    with pytest.raises(RunError, match="aborts"):
        vart.Runner.create_runner(subgraph)  # mode "" is no key of the attribute runner
    runner = vart.Runner.create_runner(subgraph, "run")
    good = np.zeros((1, 16, 16, 3), np.int8)
    outs = [np.empty(tuple(t.dims), np.int8) for t in runner.get_output_tensors()]
    read_only = outs[0].copy()
    read_only.flags.writeable = False
    for inputs, outputs, message in (
        ([good.astype(np.uint8)], outs, "found uint8"),
        ([good], outs[:1], "1"),
        ([good.transpose(0, 2, 1, 3)[:, ::2]], outs, "contiguous"),
        ([good[:, :8]], outs, "768 elements"),
        ([good], [read_only, outs[1]], "read-only"),
        ([np.broadcast_to(good[:1], good.shape)], outs, "read-only"),
        ([good.astype(np.int16)], outs, "int16"),
        ([good, good], outs, "found 2"),
    ):
        with pytest.raises(RunError, match=message) as caught:
            runner.execute_async(inputs, outputs)
        assert "the real vart" in str(caught.value)
    with pytest.raises(RunError, match="NaN"):
        runner.execute_async([np.full((1, 16, 16, 3), np.nan, np.float32)], outs)
    with pytest.raises(TypeError, match="buffer protocol"):
        runner.execute_async([object()], outs)


def test_fingerprints_are_compared_with_amds_words(
    modules: tuple[Any, Any], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two fingerprints that differ are refused; 0 on the model's side, or the check switched off, passes."""
    xir, vart = modules
    graph = lower(xmodel.load(model))
    assert graph.root is not None
    paths = {}
    for fingerprint in (0x101000016010407, 0x101000056010407):
        children = tuple(
            Subgraph(c.name, c.op_names, {**c.attrs, "dpu_fingerprint": Attr("uint64", fingerprint)}, c.children)
            if c.device == "DPU"
            else c
            for c in graph.root.children
        )
        graph.root = Subgraph("root", (), graph.root.attrs, children)
        paths[fingerprint] = tmp_path / f"{fingerprint}.xmodel"
        xmodel.save(graph, paths[fingerprint])
    vart.Runner.create_runner(dpu_subgraph(xir, paths[0x101000056010407]), "run")
    other = dpu_subgraph(xir, paths[0x101000016010407])
    expected = (
        "CHECK fingerprint fail! model_fingerprint 0x101000016010407 is un-matched with actual dpu_fingerprint "
        "0x101000056010407. Please re-compile xmodel with dpu_fingerprint 0x101000056010407 and try again."
    )
    with pytest.raises(UnsupportedModelError) as caught:
        vart.Runner.create_runner(other, "run")
    assert expected in str(caught.value) and "fingerprint check failure." in str(caught.value)
    monkeypatch.setenv("XLNX_ENABLE_FINGERPRINT_CHECK", "0")
    vart.Runner.create_runner(other, "run")


@pytest.mark.parametrize(
    ("key", "attr", "message"),
    [
        ("dpu_fingerprint", Attr("string", "0x1"), "stored as string, expected uint64"),
        ("runner", Attr("bool", True), "no runner for mode 'run'"),
        ("runner", Attr("string", "libvart-run.so"), "no runner for mode 'run'"),
    ],
)
def test_attributes_of_another_kind_are_refused(
    modules: tuple[Any, Any], model: Path, tmp_path: Path, key: str, attr: Attr, message: str
) -> None:
    """A file that stores what a runner reads in another kind is an error of the package, as any damaged file."""
    xir, vart = modules
    graph = lower(xmodel.load(model))
    assert graph.root is not None
    children = tuple(replace(c, attrs={**c.attrs, key: attr}) if c.device == "DPU" else c for c in graph.root.children)
    graph.root = replace(graph.root, children=children)
    xmodel.save(graph, tmp_path / "damaged.xmodel")
    with pytest.raises((XmodelError, RunError), match=message):
        vart.Runner.create_runner(dpu_subgraph(xir, tmp_path / "damaged.xmodel"), "run")


def test_cores_are_bound_round_robin_and_locked(modules: tuple[Any, Any], model: Path) -> None:
    """Runners take the two cores in turn; a busy core makes its own runners wait, not the other core's."""
    xir, vart = modules
    subgraph = dpu_subgraph(xir, model)
    runners = [vart.Runner.create_runner(subgraph, "run") for _ in range(4)]
    cores = [runner._session.core for runner in runners]
    assert [core.number for core in cores] == [cores[0].number, 1 - cores[0].number] * 2

    outs = [np.empty(tuple(t.dims), np.int8) for t in runners[0].get_output_tensors()]
    picture = np.zeros((1, 16, 16, 3), np.int8)
    waiting = threading.Thread(target=runners[2].execute_async, args=([picture], [o.copy() for o in outs]))
    with cores[0].lock:  # as if a run of runners[0] were under way
        runners[1].execute_async([picture], outs)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


def test_cores_can_be_restricted(modules: tuple[Any, Any], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XLNX_DPU_DEVICE_CORES lists the cores to take in turn; one that is not there ends the real process."""
    xir, vart = modules
    subgraph = dpu_subgraph(xir, model)
    for listed, expected in (("1", {1}), ("0", {0}), ("0,1", {0, 1}), ("", {0, 1})):
        monkeypatch.setenv("XLNX_DPU_DEVICE_CORES", listed)
        assert {vart.Runner.create_runner(subgraph, "run")._session.core.number for _ in range(4)} == expected
    for listed in ("2", "first"):
        monkeypatch.setenv("XLNX_DPU_DEVICE_CORES", listed)
        with pytest.raises(RunError, match="numbers below 2"):
            vart.Runner.create_runner(subgraph, "run")


class Clock:
    """Time that passes only while both cores are held: sleepers wake in order, and no run takes time of its own."""

    def __init__(self, until: float) -> None:
        self.now, self.until = 0.0, until
        self._sleepers: list[float] = []
        self._changed = threading.Condition()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._changed:
            wake = self.now + seconds
            self._sleepers.append(wake)
            while self.now < min(wake, self.until):
                if len(self._sleepers) == 2 and self.now < min(self._sleepers):
                    self.now = min(self._sleepers)
                    self._changed.notify_all()
                else:
                    self._changed.wait(0.05)
            self._sleepers.remove(wake)
            self._changed.notify_all()


@pytest.mark.parametrize(("threads", "busy"), [(2, 2), (3, 2)])
def test_pace_predicted_gives_the_predicted_frame_rate(
    modules: tuple[Any, Any], model: Path, monkeypatch: pytest.MonkeyPatch, threads: int, busy: int
) -> None:
    """Two cores and enough threads do 2 / predicted time pictures a second, on a clock that only the cores move."""
    xir, vart = modules
    monkeypatch.setenv("ROADSLIM_DPU_PACE", "predicted")
    subgraph = dpu_subgraph(xir, model)
    runners = [vart.Runner.create_runner(subgraph, "run") for _ in range(threads)]
    held = predict(layers_of_graph(xmodel.load(model)), "zcu104").dpu_ms / 1e3
    clock = Clock(until=20.5 * held)
    monkeypatch.setattr(sys.modules["vart.cores"], "time", clock)
    done = []

    def work(runner: Any) -> None:
        outs = [np.empty(tuple(t.dims), np.int8) for t in runner.get_output_tensors()]
        while clock.now < clock.until:
            runner.execute_async([np.zeros((1, 16, 16, 3), np.int8)], outs)
            done.append(clock.now)

    workers = [threading.Thread(target=work, args=(runner,)) for runner in runners]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    in_time = sum(moment <= 20.01 * held for moment in done)
    assert abs(in_time - busy * 20) <= 3


def test_pace_predicted_holds_the_core(modules: tuple[Any, Any], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ROADSLIM_DPU_PACE=predicted holds each run for the latency model's time; other words are refused."""
    xir, vart = modules
    monkeypatch.setenv("ROADSLIM_DPU_PACE", "predicted")
    runner = vart.Runner.create_runner(dpu_subgraph(xir, model), "run")
    forecast = predict(layers_of_graph(xmodel.load(model)), "zcu104").dpu_ms
    slept: list[float] = []
    monkeypatch.setattr(sys.modules["vart.cores"], "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=slept.append))
    outs = [np.empty(tuple(t.dims), np.int8) for t in runner.get_output_tensors()]
    runner.execute_async([np.zeros((1, 16, 16, 3), np.int8)], outs)
    assert slept == [pytest.approx(forecast / 1e3)] and forecast > 0.02
    monkeypatch.setenv("ROADSLIM_DPU_PACE", "fast")
    with pytest.raises(RunError, match="expected off or predicted"):
        vart.Runner.create_runner(dpu_subgraph(xir, model), "run")


def test_runner_ext_has_buffers_of_its_own(modules: tuple[Any, Any], model: Path) -> None:
    """RunnerExt's buffers are arrays that know their tensors and can be filled and run in place."""
    xir, vart = modules
    runner = vart.RunnerExt.create_runner(dpu_subgraph(xir, model), "run")
    source, targets = runner.get_inputs()[0], runner.get_outputs()
    np.array(source, copy=False)[:] = 17
    runner.wait(runner.execute_async([source], targets))
    expected = Executor(xmodel.load(model)).run({"x_fix": np.full((1, 16, 16, 3), 17, np.int8)})
    for target in targets:
        assert np.array_equal(np.asarray(target), expected[target.get_tensor().name])


def test_xir_walks_a_real_compiled_file(modules: tuple[Any, Any], shared_data: Path) -> None:
    """The API for graphs, subgraphs, operators and attributes on a real file, types included."""
    xir, vart = modules
    graph = xir.Graph.deserialize(str(shared_data / "xmodels" / "zcu104_vai2.5_small_cnn.xmodel"))
    root = graph.get_root_subgraph()
    assert root.is_root and not root.is_leaf and graph.get_name() == "functional_1"
    children = root.toposort_child_subgraph()
    assert [c.get_attr("device") for c in children] == ["USER", "DPU", "CPU", "DPU", "CPU"]
    part = children[1]
    assert part in root.get_children() and part.get_parent() is root and part.depth == 1
    assert part.get_attr("dpu_fingerprint") == 0x101000016010407
    assert part.get_attr("runner")["run"] == "libvart-dpu-runner.so"
    assert part.get_attr("reg_id_to_parameter_value") is None  # as the real binding gives it
    assert isinstance(part.get_attr("mc_code"), bytes)
    assert {t.name for t in part.get_input_tensors()} == {"quant_input_1"}
    assert {t.name for t in part.get_output_tensors()} == {"quant_max_pooling2d_1_fix"}
    conv = graph.get_op("quant_conv2d_1")
    assert conv.get_type() == "conv2d-fix" and conv.get_attr("kernel") == [7, 7]
    assert [op.get_name() for op in conv.get_input_ops()["input"]] == ["quant_conv2d"]
    assert conv.get_input_op("weights", 0).get_type() == "const-fix"
    assert [op.get_name() for op in conv.get_fanout_ops()] == ["quant_max_pooling2d"]
    assert graph.get_leaf_subgraph(conv).get_parent() is part and part.has_op(conv)
    assert len(graph.toposort()) == graph.get_op_num() == 26
    with pytest.raises(RunError, match="does not exist"):
        conv.get_attr("nothing")


def test_serialize_writes_what_deserialize_reads(modules: tuple[Any, Any], model: Path, tmp_path: Path) -> None:
    """A deserialised graph can be written; damaged and missing files raise."""
    xir, _ = modules
    xir.Graph.deserialize(str(model)).serialize(str(tmp_path / "again.xmodel"))
    assert xmodel.load(tmp_path / "again.xmodel") == xmodel.load(model)
    (tmp_path / "bad.xmodel").write_bytes(b"nonsense")
    with pytest.raises(XmodelError, match="bad.xmodel"):
        xir.Graph.deserialize(str(tmp_path / "bad.xmodel"))
    with pytest.raises(RunError, match="cannot read .*missing.xmodel.*the real xir aborts the process here"):
        xir.Graph.deserialize(tmp_path / "missing.xmodel")


@pytest.mark.parametrize("blocked", [("torch", "cv2", "onnxruntime", "onnx"), ("torch", "cv2", "board_app")])
def test_a_script_needs_only_the_stand_in_folder(model: Path, tmp_path: Path, blocked: tuple[str, ...]) -> None:
    """With nothing but PYTHONPATH=stand_in a script elsewhere runs, with or without onnxruntime: equal output."""
    script = tmp_path / "user.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path[:] = [p for p in sys.path if p != {str(dpu.stand_in_path().parents[1])!r}]
            for name in {blocked!r}:
                sys.modules[name] = None
            import vart, xir
            import numpy as np
            graph = xir.Graph.deserialize({str(model)!r})
            child = [s for s in graph.get_root_subgraph().toposort_child_subgraph() if s.get_attr("device") == "DPU"][0]
            runner = vart.Runner.create_runner(child, "run")
            outs = [np.empty(tuple(t.dims), np.int8) for t in runner.get_output_tensors()]
            runner.wait(runner.execute_async([np.full((1, 16, 16, 3), 5, np.int8)], outs))
            print(runner._session.engine, sum(int(o.astype(int).sum()) for o in outs))
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(dpu.stand_in_path())}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    outs = Executor(xmodel.load(model)).run({"x_fix": np.full((1, 16, 16, 3), 5, np.int8)})
    engine = "numpy" if "onnxruntime" in blocked else "onnxruntime"
    assert done.stdout.split() == [engine, str(sum(int(array.astype(int).sum()) for array in outs.values()))]


def test_one_thread_in_a_runner(modules: tuple[Any, Any], model: Path) -> None:
    """A second thread in the same runner ends the real process: make a runner for each."""
    xir, vart = modules
    runner = vart.Runner.create_runner(dpu_subgraph(xir, model), "run")
    picture, outs = (
        np.zeros((1, 16, 16, 3), np.int8),
        [np.zeros(tuple(t.dims), np.int8) for t in runner.get_output_tensors()],
    )
    with runner._session.core.lock:
        first = threading.Thread(target=runner.execute_async, args=([picture], outs))
        first.start()
        while not runner._in_use.locked():
            time.sleep(0.001)
        with pytest.raises(RunError, match="another thread"):
            runner.execute_async([picture], outs)
    first.join(10)
    assert runner.execute_async([picture], outs) == (1, 0)


def test_other_programs_get_the_core_while_a_run_is_under_way(modules: tuple[Any, Any], model: Path) -> None:
    """Waiting for a core does not hold the interpreter: other threads go on."""
    xir, vart = modules
    runner = vart.Runner.create_runner(dpu_subgraph(xir, model), "run")
    outs = [np.zeros(tuple(t.dims), np.int8) for t in runner.get_output_tensors()]
    with runner._session.core.lock:
        waiting = threading.Thread(target=runner.execute_async, args=([np.zeros((1, 16, 16, 3), np.int8)], outs))
        waiting.start()
        assert sum(range(10_000)) == 49_995_000 and waiting.is_alive()
    waiting.join(10)


def test_dynamic_arrays_compare_shapes(modules: tuple[Any, Any], model: Path) -> None:
    """Without enable_dynamic_array only the size counts, as in the real binding; with it, all but the batch."""
    xir, vart = modules
    runner = vart.Runner.create_runner(dpu_subgraph(xir, model), "run")
    outs = [np.zeros(tuple(t.dims), np.int8) for t in runner.get_output_tensors()]
    flat, batch = np.full(768, 3, np.int8), np.full((2, 16, 16, 3), 3, np.int8)
    runner.execute_async([flat], outs)
    again = [np.zeros_like(out) for out in outs]
    runner.execute_async([batch], again, enable_dynamic_array=True)
    assert all(np.array_equal(one, other) for one, other in zip(outs, again, strict=True))
    with pytest.raises(RunError, match="expected shape"):
        runner.execute_async([flat], outs, True)


def test_arguments_of_the_wrong_kind(modules: tuple[Any, Any], model: Path) -> None:
    """What pybind11 refuses raises TypeError here as there; a read-only array ValueError."""
    xir, vart = modules
    graph = xir.Graph.deserialize(str(model))
    with pytest.raises(TypeError, match="incompatible function arguments"):
        vart.Runner.create_runner(graph, "run")
    runner = vart.Runner.create_runner(dpu_subgraph(xir, model), "run")
    picture, outs = (
        np.zeros((1, 16, 16, 3), np.int8),
        [np.zeros(tuple(t.dims), np.int8) for t in runner.get_output_tensors()],
    )
    for wrong in (3, None, "picture", {"x": picture}):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            runner.execute_async(wrong, outs)
    for job in (1, (1,), ("a", "b"), None):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            runner.wait(job)
    picture.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        runner.execute_async([picture], outs)


def test_buffers_have_no_items(modules: tuple[Any, Any], model: Path) -> None:
    """A TensorBuffer is looked at through numpy.asarray or a memoryview, as in the real module."""
    xir, vart = modules
    runner = vart.RunnerExt.create_runner(dpu_subgraph(xir, model), "run")
    (buffer,) = runner.get_inputs()
    np.asarray(buffer)[0, 0, 0] = (1, 2, 3)
    assert memoryview(buffer)[0, 0, 0, 2] == 3 and np.array(buffer).sum() == 6
    for use in (lambda: buffer[0], lambda: buffer.__setitem__(0, 1), lambda: len(buffer)):
        with pytest.raises(TypeError, match="numpy.asarray"):
            use()
    assert "x_fix" in repr(buffer) and not hasattr(
        vart.Runner.create_runner(dpu_subgraph(xir, model), "run"), "get_inputs"
    )


@pytest.mark.parametrize(
    ("name", "fingerprint", "chosen"),
    [
        ("zcu104_vai2.0_small_cnn", "0x1000020f6014407", "0x1000020F6014407"),
        ("zcu104_vai2.5_small_cnn", "0x101000016010407", "0x101000016010407"),
        ("vck190_vai1.4.1_densebox", None, ""),
    ],
)
def test_real_models_of_other_dpus(
    modules: tuple[Any, Any],
    shared_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fingerprint: str | None,
    chosen: str,
) -> None:
    """Models for other images and families are refused; ROADSLIM_DPU_FINGERPRINT stands for another image's DPU."""
    xir, vart = modules
    root = xir.Graph.deserialize(str(shared_data / "xmodels" / f"{name}.xmodel")).get_root_subgraph()
    parts = [part for part in root.toposort_child_subgraph() if part.get_attr("device") == "DPU"]
    for part in parts:
        model_fingerprint = fingerprint or f"0x{part.get_attr('dpu_fingerprint'):x}"
        with pytest.raises(UnsupportedModelError, match=f"model_fingerprint {model_fingerprint} is un-matched"):
            vart.Runner.create_runner(part, "run")
    if chosen:
        monkeypatch.setenv("ROADSLIM_DPU_FINGERPRINT", chosen)
        for part in parts:
            runner = vart.Runner.create_runner(part, "run")
            assert runner.get_input_tensors()[0].dims[0] == 1
        monkeypatch.setenv("ROADSLIM_DPU_FINGERPRINT", "zcu104")
        with pytest.raises(RunError, match="hexadecimal"):
            vart.Runner.create_runner(parts[0], "run")
