"""`roadslim xmodel show | check | run`, from the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
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


def compiled_for(model: Path, fingerprint: int, changed: Mapping[str, Attr] = MappingProxyType({})) -> Path:
    graph = lower(xmodel.load(model))
    assert graph.root is not None
    user, dpu = graph.root.children
    attrs = {
        **dpu.attrs,
        "dpu_fingerprint": Attr("uint64", fingerprint),
        "mc_code": Attr("bytes", b"code"),
        "reg_id_to_context_type": Attr("map_string_2_string", {"REG_0": "CONST", "REG_2": "DATA"}),
        "reg_id_to_size": Attr("map_string_2_int32", {"REG_0": 4, "REG_2": 192}),
        "reg_id_to_parameter_value": Attr("map_string_2_bytes", {"REG_0": b"four"}),
        **changed,
    }
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
        ("quantised_only_voxelnet_int", None, None, None, ["USER", "USER", "DPU", "CPU", "DPU"]),
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


@pytest.mark.parametrize(
    ("name", "libraries", "made_with", "quantiser", "parameters"),
    [
        ("zcu104_vai2.0_small_cnn", {"xcompiler": "1.4.0", "xir": "2.0.0"}, "tensorflow2", None, 105_898),
        ("zcu104_vai3.0_pointpillars", {"xcompiler": "3.0.0", "xir": "3.0.0"}, "pytorch", None, 395_016),
        ("quantised_only_voxelnet_int", {}, "pytorch", "vai_q_pytorch", 395_016),
        ("vck190_vai1.4.1_densebox", {"xcompiler": "1.4.1", "xir": "1.4.1"}, "caffe", None, 523_168),
        ("not_a_dpu_graph_lstm", {}, None, None, 0),
    ],
)
def test_show_tells_who_wrote_a_file(
    shared_data: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    libraries: dict[str, str],
    made_with: str | None,
    quantiser: str | None,
    parameters: int,
) -> None:
    """AMD's libraries by version, the framework, the quantiser, and how many parameters there are."""
    document = answer(capsys, "show", shared_data / "xmodels" / f"{name}.xmodel")
    assert libraries.items() <= document["libraries"].items() and bool(libraries) == bool(document["libraries"])
    assert (document["origin"], document["quantiser"]) == (made_with, quantiser)
    assert document["parameters"] == parameters


def test_show_tells_layers_and_registers(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What AMD's tool tells of a DPU subgraph, a row for each layer, and the features of the DPU."""
    document = answer(capsys, "show", shared_data / "xmodels" / "zcu104_vai2.5_small_cnn.xmodel")
    part = document["subgraphs"][1]
    assert (part["index"], part["dpu_arch"]) == (1, "DPUCZDX8G_ISA1_B4096")
    assert part["registers"] == [
        {"id": "REG_0", "context_type": "CONST", "bytes": 103072},
        {"id": "REG_1", "context_type": "WORKSPACE", "bytes": 17536},
        {"id": "REG_2", "context_type": "INTERFACE", "bytes": 784},
        {"id": "REG_3", "context_type": "INTERFACE", "bytes": 256},
    ]
    assert part["parameter_bytes"] == 103072 == sum(layer["weight_bytes"] for layer in part["layers"])
    assert part["layers"][1] == {
        "name": "quant_conv2d_1",
        "type": "conv2d-fix",
        "kernel_hw": [7, 7],
        "stride_hw": [1, 1],
        "activation": None,
        "input_shape": [1, 22, 22, 32],
        "output_shape": [1, 16, 16, 32],
        "parameters": 32 * 7 * 7 * 32 + 32,
        "weight_bytes": 32 * 7 * 7 * 32 + 32,
        "fix_points": {"input": 5, "weights": 12, "bias": 8, "output": 4},
        "workload": 25698304,
    }
    assert sum(layer["workload"] for layer in part["layers"]) == part["workload"]
    features = document["features"]
    assert (features["size"], features["isa"], features["feature_groups"]) == ("B4096", 1, 2)
    assert (features["conv_leaky"], features["depthwise_leaky"], features["save_argmax"]) == (True, False, False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zcu104_vai2.0_small_cnn", "ISA 0 (expired since Vitis AI 2.5), B4096"),
        ("zcu104_vai2.5_small_cnn", "written by Vitis AI 2.5"),
        ("zcu104_vai3.0_pointpillars", "no leaky ReLU after depthwise, argmax"),
        ("quantised_only_voxelnet_int", "Shown as the software DPU runs it:"),
        ("vck190_vai1.4.1_densebox", "0x601001036088111 = DPUCVDX8G, ISA 1"),
        ("not_a_dpu_graph_lstm", "U25"),
    ],
)
def test_show_fits_a_terminal(shared_data: Path, capsys: pytest.CaptureFixture[str], name: str, expected: str) -> None:
    """The text of every real file, layers included, is at most 100 columns wide."""
    assert roadslim.main(["xmodel", "show", str(shared_data / "xmodels" / f"{name}.xmodel"), "--layers"]) == 0
    first, *text = capsys.readouterr().out.splitlines()
    assert name in first and max(map(len, text)) <= 100
    assert expected in " ".join(" ".join(text).split())


def test_show_prints_for_people(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the same in words; a quantised file is shown as the DPU would run it."""
    assert roadslim.main(["xmodel", "show", str(model), "--layers"]) == 0
    out = capsys.readouterr().out
    assert "tiny, quantised, written by vai_q_pytorch" in out and "Shown as the software DPU runs it" in out
    words = [line.split() for line in out.splitlines()]
    assert ["input", "x_fix", "[1,", "8,", "8,", "3]", "xint8", "6"] in words
    assert ["c1", "conv2d+leaky", "3/1", "8x8x3", "8x8x8", "224", "6/8/7/4", "28.2k"] in words


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
    assert "roadslim compile BUNDLE --fingerprint 0x101000056010407" in [r["remedy"] for r in cut["reasons"]]
    assert any(  # the words of AMD's runtime
        "model_fingerprint 0x101000016010407 is un-matched with actual dpu_fingerprint 0x101000056010407"
        in r["message"]
        for r in cut["reasons"]
    )
    raw = answer(capsys, "check", model, code=1)
    assert [r["code"] for r in raw["reasons"]] == ["not_compiled"] and raw["runs"] is False
    assert raw["reasons"][0]["remedy"] == "roadslim compile BUNDLE --board zcu104"
    nothing = answer(capsys, "check", folder / "not_a_dpu_graph_lstm.xmodel", code=1)
    assert [r["code"] for r in nothing["reasons"]] == ["no_dpu_subgraph"]


@pytest.mark.parametrize("name", ["zcu104_vai2.0_small_cnn", "zcu104_vai2.5_small_cnn", "zcu104_vai3.0_pointpillars"])
def test_check_tells_the_board_from_the_application(
    shared_data: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A model in several parts runs on the board, but not in the board application; no limit is exceeded."""
    document = answer(capsys, "check", shared_data / "xmodels" / f"{name}.xmodel")
    assert (document["runs"], document["runs_in_application"]) == (True, False)
    assert document["images"] == {"2.0": ["2.0"], "2.5": ["2.5"], "3.0": ["3.0", "3.5"]}[name[10:13]]
    assert {r["code"] for r in document["reasons"]} == {"several_dpu_subgraphs", "cpu_operator"}
    assert {r["hinders"] for r in document["reasons"]} == {"application"}
    assert roadslim.main(["xmodel", "check", str(shared_data / "xmodels" / f"{name}.xmodel")]) == 0
    told = capsys.readouterr().out
    assert "runs on zcu104 with the image of Vitis AI" in told
    assert "The board application, which runs one DPU subgraph and nothing else, does not run it" in told


def test_check_for_one_image(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--board-image asks for the DPU of one image alone; a version that is not there is named."""
    path = compiled_for(model, 0x101000016010407)
    assert answer(capsys, "check", path, "--board-image", "2.5")["images"] == ["2.5"]
    refused = answer(capsys, "check", path, "--board-image", "3.0", code=1)
    assert [r["code"] for r in refused["reasons"]] == ["fingerprint"]
    assert roadslim.main(["xmodel", "check", str(path), "--board-image", "1"]) == 2
    assert "expected one of 2.0, 2.5, 3.0, 3.5, found 1" in capsys.readouterr().err


def test_check_passes_what_fits(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model compiled for one of a board's images runs there, and is told with which; a fingerprint is exact."""
    path = compiled_for(model, 0x101000016010407)
    assert answer(capsys, "check", path)["images"] == ["2.5"]
    assert answer(capsys, "check", path, "--fingerprint", "0x101000016010407")["runs"] is True
    wrong = answer(capsys, "check", path, "--fingerprint", "0x101000056010407", code=1)
    assert "0x101000016010407" in wrong["reasons"][0]["message"]
    any_dpu = xmodel.load(compiled_for(model, 0))
    assert check(any_dpu, None, 0x101000056010407).runs  # fingerprint 0 fits every DPU
    assert roadslim.main(["xmodel", "check", str(path)]) == 0
    assert "runs on zcu104 with the image of Vitis AI 2.5" in capsys.readouterr().out


def test_check_finds_every_reason_at_once(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A smaller DPU without leaky ReLU, and a file without instructions: all of it in one answer."""
    path = compiled_for(model, 0x101000056010407, {"mc_code": Attr("bytes", b"")})
    reasons = answer(capsys, "check", path, "--fingerprint", "0x101000006010203", code=1)["reasons"]
    assert [r["code"] for r in reasons] == ["fingerprint", "dpu_size", "incomplete_subgraph", "operator_limit"]
    assert "a B1152" in reasons[1]["message"] and "mc_code" in reasons[2]["message"]
    assert "LEAKYRELU" in reasons[3]["message"]


def test_check_knows_what_cannot_be_compiled(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a DPU that `roadslim compile` refuses the remedy is another: the compiler that still knows it, or to look."""
    reasons = answer(capsys, "check", model, "--fingerprint", "0x1000020f6014407", code=1)["reasons"]
    assert "by hand with 2.0" in reasons[0]["remedy"] and "roadslim compile BUNDLE" not in reasons[0]["remedy"]
    unknown = answer(capsys, "check", compiled_for(model, 0x101000056010407), "--fingerprint", "0xfff", code=1)
    assert "the board has unknown family 0" in unknown["reasons"][0]["message"]
    assert "xdputil query" in unknown["reasons"][0]["remedy"]
    old = answer(capsys, "check", compiled_for(model, 0x1000020F6014407), "--fingerprint", "0x101000056010407", code=1)
    assert "expired since Vitis AI 2.5" in old["reasons"][0]["message"]


@pytest.mark.parametrize(
    ("attribute", "value", "named"),
    [
        ("mc_code", Attr("bytes", b""), "mc_code"),
        ("reg_id_to_context_type", Attr("map_string_2_string", {}), "reg_id_to_context_type"),
        ("reg_id_to_size", Attr("map_string_2_int32", {"REG_0": 4}), "reg_id_to_size"),
        ("reg_id_to_parameter_value", Attr("map_string_2_bytes", {}), "reg_id_to_parameter_value of REG_0"),
    ],
)
def test_check_misses_what_the_runner_needs(
    model: Path, capsys: pytest.CaptureFixture[str], attribute: str, value: Attr, named: str
) -> None:
    """A compiled subgraph without an attribute that AMD's runner reads is told before the board aborts."""
    path = compiled_for(model, 0x101000056010407, {attribute: value})
    reasons = answer(capsys, "check", path, code=1)["reasons"]
    assert [r["code"] for r in reasons] == ["incomplete_subgraph"] and named in reasons[0]["message"]


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


@pytest.mark.parametrize("name", ["in.npy", "link.npz"])
def test_run_does_not_write_over_what_it_reads(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The output may not be an input, nor a link to one."""
    array = np.ones((1, 8, 8, 3), np.int8)
    np.save(tmp_path / "in.npy", array)
    (tmp_path / "link.npz").symlink_to("in.npy")
    words = ["run", str(model), "--input", str(tmp_path / "in.npy"), "--output", str(tmp_path / name)]
    assert roadslim.main(["xmodel", *words]) == 1
    assert "expected another file than what is read" in capsys.readouterr().err
    assert np.array_equal(np.load(tmp_path / "in.npy"), array)


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
