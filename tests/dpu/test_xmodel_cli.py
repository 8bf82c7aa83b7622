"""`roadslim xmodel show | check | run`, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roadslim
from dpu import xmodel
from dpu.arithmetic import quantise
from dpu.compatibility import check
from dpu.executor import Executor
from dpu.graph import Attr, Subgraph
from dpu.lowering import lower
from dpu.testing import QuantisedGraph


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small quantised model as a file."""
    net = QuantisedGraph("tiny")
    x = net.random_conv("c1", net.data("x", (1, 8, 8, 3), 6), 8, 3, np.random.default_rng(0), 4)
    net.random_conv("head", x, 18, 1, np.random.default_rng(1), 3, None)
    path = tmp_path / "tiny_int.xmodel"
    xmodel.save(net.graph(), path)
    return path


def compiled_for(model: Path, fingerprint: int) -> Path:
    graph = lower(xmodel.load(model))
    assert graph.root is not None
    user, dpu = graph.root.children
    attrs = {**dpu.attrs, "dpu_fingerprint": Attr("uint64", fingerprint)}
    graph.root = Subgraph("root", (), {}, (user, Subgraph(dpu.name, (), attrs, dpu.children)))
    path = model.with_name(f"{fingerprint:x}.xmodel")
    xmodel.save(graph, path)
    return path


def answer(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> dict[str, Any]:
    assert roadslim.main(["xmodel", *map(str, words), "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1 and document["roadslim_version"]
    return document  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "vitis_ai", "family", "fingerprint", "devices"),
    [
        ("zcu104_vai2.0_small_cnn", "2.0", "DPUCZDX8G", "0x1000020f6014407", ["USER", "DPU", "CPU", "DPU", "CPU"]),
        ("zcu104_vai2.5_small_cnn", "2.5", "DPUCZDX8G", "0x101000016010407", ["USER", "DPU", "CPU", "DPU", "CPU"]),
        (
            *("zcu104_vai3.0_pointpillars", "3.0", "DPUCZDX8G", "0x101000056010407"),
            ["USER", "USER", "DPU", "CPU", "DPU", "CPU", "CPU", "CPU"],
        ),
        ("vck190_vai1.4.1_densebox", "1.4.1", "DPUCVDX8G", "0x601001036088111", ["USER", "DPU", "CPU", "CPU"]),
        ("quantised_only_voxelnet_int", None, None, None, [None]),
        ("not_a_dpu_graph_lstm", None, None, None, [None]),
    ],
)
def test_show_tells_what_real_files_are(
    shared_data: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    vitis_ai: str | None,
    family: str | None,
    fingerprint: str | None,
    devices: list[str | None],
) -> None:
    """Version, DPU and subgraphs of all six files."""
    document = answer(capsys, "show", shared_data / "xmodels" / f"{name}.xmodel")
    assert (document["vitis_ai"], document["family"], document["fingerprint"]) == (vitis_ai, family, fingerprint)
    assert [part["device"] for part in document["subgraphs"]] == devices
    for part in document["subgraphs"]:
        assert part["ops"] and part["outputs"]
        assert all(set(t) == {"name", "shape", "dtype", "fix_point"} for t in part["inputs"] + part["outputs"])


def test_show_tells_tensors_of_a_compiled_subgraph(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Inputs and outputs by their outer names, with fix points and workload."""
    document = answer(capsys, "show", shared_data / "xmodels" / "zcu104_vai2.5_small_cnn.xmodel")
    part = document["subgraphs"][1]
    assert part["inputs"] == [{"name": "quant_input_1", "shape": [1, 28, 28, 1], "dtype": "xint8", "fix_point": -2}]
    assert [t["name"] for t in part["outputs"]] == ["quant_max_pooling2d_1_fix"]
    assert part["workload"] == 28880256 and part["fingerprint"] == "0x101000016010407"


def test_show_prints_for_people(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the same in words; a quantised file is shown as the DPU would run it."""
    assert roadslim.main(["xmodel", "show", str(model)]) == 0
    out = capsys.readouterr().out
    assert "tiny, quantised" in out and "shown as the DPU would run it" in out
    assert "x_fix: xint8 [1, 8, 8, 3], fix point 6" in out and "head_fix: xint8 [1, 8, 8, 18], fix point 3" in out


def test_check_says_why_not(shared_data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Family, fingerprint, quantised-only and cut models each get their reason and remedy, and exit code 1."""
    folder = shared_data / "xmodels"
    other = answer(capsys, "check", folder / "vck190_vai1.4.1_densebox.xmodel", "--board", "zcu104", code=1)
    assert [r["code"] for r in other["reasons"]] == ["family"] and "DPUCVDX8G" in other["reasons"][0]["message"]
    cut = answer(
        capsys, "check", folder / "zcu104_vai2.5_small_cnn.xmodel", "--fingerprint", "0x101000056010407", code=1
    )
    assert [r["code"] for r in cut["reasons"]].count("fingerprint") == 2
    assert {"several_dpu_subgraphs", "cpu_operator"} < {r["code"] for r in cut["reasons"]}
    remedies = " ".join(r["remedy"] for r in cut["reasons"])
    assert "with vai_c_xir for DPU 0x101000056010407, as in docs/limits.md" in remedies
    raw = answer(capsys, "check", model, code=1)
    assert [r["code"] for r in raw["reasons"]] == ["not_compiled"] and raw["runs"] is False
    nothing = answer(capsys, "check", folder / "not_a_dpu_graph_lstm.xmodel", code=1)
    assert [r["code"] for r in nothing["reasons"]] == ["no_dpu_subgraph"]


def test_check_passes_what_fits(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model compiled for one of a board's images runs there, and is told with which; a fingerprint is exact."""
    path = compiled_for(model, 0x101000016010407)
    assert answer(capsys, "check", path)["images"] == ["2.5"]
    assert answer(capsys, "check", path, "--fingerprint", "0x101000016010407")["runs"] is True
    wrong = answer(capsys, "check", path, "--fingerprint", "0x101000056010407", code=1)
    assert "0x101000016010407" in wrong["reasons"][0]["message"]
    assert check(lower(xmodel.load(model)), None, 0x101000056010407).runs  # fingerprint 0 fits every DPU
    assert roadslim.main(["xmodel", "check", str(path)]) == 0
    assert "runs on zcu104 with the image of Vitis AI 2.5" in capsys.readouterr().out


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_run_writes_every_tensor(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str) -> None:
    """Float input is quantised half up by the input's fix point; all int8 tensors arrive under their names."""
    picture = np.random.default_rng(0).uniform(-3, 3, (1, 8, 8, 3)).astype(np.float32)
    np.save(tmp_path / "in.npy", picture)
    words = ("run", model, "--input", tmp_path / "in.npy", "--tensors", "all", "--output", tmp_path / "out.npz")
    document = answer(capsys, *words, "--engine", engine)
    integers = quantise(picture, 6)
    expected = Executor(xmodel.load(model)).run({"x_fix": integers}, "all")
    with np.load(tmp_path / "out.npz") as written:
        assert set(written.files) == set(expected) == {"x_fix", "c1_act_fix", "head_fix"}
        assert all(np.array_equal(written[name], array) for name, array in expected.items())
        assert np.array_equal(written["x_fix"], integers)
    assert {t["name"]: t["fix_point"] for t in document["tensors"]} == {"x_fix": 6, "c1_act_fix": 4, "head_fix": 3}


def test_run_takes_int8_and_gives_the_outputs(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """int8 input goes in as it is, by tensor name too; by default only the outputs are written."""
    np.save(tmp_path / "in.npy", np.ones((1, 8, 8, 3), np.int8))
    out = tmp_path / "out.npz"
    assert (
        roadslim.main(["xmodel", "run", str(model), "--input", f"x_fix={tmp_path / 'in.npy'}", "--output", str(out)])
        == 0
    )
    assert "head_fix: int8 [1, 8, 8, 18], fix point 3" in capsys.readouterr().out
    with np.load(out) as written:
        assert written.files == ["head_fix"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 3, 8, 8), np.float32), "NHWC"),
        (np.zeros((1, 8, 8, 3), np.float64), "found float64"),
        (np.full((1, 8, 8, 3), np.nan, np.float32), "NaN"),
        (b"not an array", "numpy.save"),
        (b"PK\3\4", "numpy.save"),  # the beginning of an .npz
    ],
)
def test_run_refuses_wrong_input(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], array: np.ndarray | bytes, message: str
) -> None:
    """Another layout, type, NaN, or no array: exit 1, a sentence, and no output file."""
    path = tmp_path / "in.npy"
    if isinstance(array, bytes):
        path.write_bytes(array)
    else:
        np.save(path, array)
    out = tmp_path / "out.npz"
    assert roadslim.main(["xmodel", "run", str(model), "--input", str(path), "--output", str(out)]) == 1
    told = capsys.readouterr().err
    assert message in told and "pickle" not in told and not out.exists()


@pytest.mark.parametrize("words", [["show"], ["check"], ["run", "--input", "x.npy", "--output", "y.npz"]])
def test_damaged_and_missing_files_exit_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """A damaged or absent file ends each action with exit code 1 and the file's name."""
    (tmp_path / "bad.xmodel").write_bytes(b"\x0a\xff\xff\xff\xff\x0f")
    for name in ("bad.xmodel", "absent.xmodel"):
        assert roadslim.main(["xmodel", words[0], str(tmp_path / name), *words[1:]]) == 1
        assert name in capsys.readouterr().err


def test_wrong_usage_exits_with_2(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fingerprint that is no hexadecimal number and a board that is not known are usage errors."""
    with pytest.raises(SystemExit) as caught:
        roadslim.main(["xmodel", "check", str(model), "--fingerprint", "zcu104"])
    assert caught.value.code == 2
    assert roadslim.main(["xmodel", "check", str(model), "--board", "zedboard"]) == 2
    assert "zcu104" in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """Each action's help shows how it is called."""
    for words in (["--help"], ["show", "--help"], ["check", "--help"], ["run", "--help"]):
        with pytest.raises(SystemExit) as caught:
            roadslim.main(["xmodel", *words])
        assert caught.value.code == 0 and "example" in capsys.readouterr().out
