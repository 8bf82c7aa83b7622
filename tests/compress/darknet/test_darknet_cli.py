"""`roadslim export`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from board_app.core.bundle import write_bundle
from compress.darknet.model_files import load_model, save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import random_cfg, randomise
from roadslim import main


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A stage folder with a small model."""
    save_model(randomise(DarknetNetwork(random_cfg(2))), tmp_path / "stage")
    return tmp_path / "stage"


def test_onnx_from_a_folder_and_from_files(stage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage folder and its two files give the same ONNX."""
    assert main(["export", str(stage), "--to", "onnx", str(tmp_path / "a.onnx"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1 and document["files"][0]["path"].endswith("a.onnx")
    flags = ["--cfg", str(stage / "model.cfg"), "--weights", str(stage / "model.weights")]
    assert main(["export", *flags, "--to", "onnx", str(tmp_path / "b.onnx")]) == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_weights_come_with_their_cfg(stage: Path, tmp_path: Path) -> None:
    """The exported pair loads and holds the same numbers."""
    assert main(["export", str(stage), "--to", "weights", str(tmp_path / "road.weights")]) == 0
    assert (tmp_path / "road.weights").read_bytes() == (stage / "model.weights").read_bytes()
    load_model(tmp_path / "road.cfg", tmp_path / "road.weights")


def test_safetensors_there_and_back(stage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same numbers in the other format, whose file is a model like any other; the suffix says which it is."""
    assert main(["export", str(stage), "--to", "safetensors", str(tmp_path / "road.safetensors")]) == 0
    again = ["--cfg", str(tmp_path / "road.cfg"), "--weights", str(tmp_path / "road.safetensors")]
    assert main(["export", *again, "--to", "weights", str(tmp_path / "again.weights")]) == 0
    assert (tmp_path / "again.weights").read_bytes() == (stage / "model.weights").read_bytes()
    for kind, name in (("safetensors", "road.weights"), ("weights", "road.safetensors")):
        assert main(["export", str(stage), "--to", kind, str(tmp_path / name)]) == 2
        assert f"Use NAME.{kind}" in capsys.readouterr().err


def test_xmodel_is_copied_from_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A quantised stage's xmodel is copied as it is; a folder without one says so."""
    folder = tmp_path / "quantize"
    folder.mkdir()
    target = tmp_path / "out.xmodel"
    assert main(["export", str(folder), "--to", "xmodel", str(target)]) == 1
    assert "found none" in capsys.readouterr().err
    (folder / "road_int.xmodel").write_bytes(b"graph")
    assert main(["export", str(folder), "--to", "xmodel", str(target)]) == 0
    assert target.read_bytes() == b"graph"
    assert main(["export", str(folder), "--to", "xmodel", str(folder / "road_int.xmodel")]) == 2


def test_a_bundle_is_copied_unless_it_was_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named by itself or by its stage's folder; the hashes of detector.json count here as they do on the board."""
    fields = {
        "name": "a",
        "roadslim_version": "0",
        "kind": "quantised",
        "classes": ["x"],
        "input_hw": [32, 32],
        "channel_order": "RGB",
        "pixel_scale": 1 / 255,
        "letterbox_grey": 128,
        "input": {"tensor": "in", "fix_point": 7},
        "heads": [{"output": "head", "stride": 32, "anchors": [[1, 2]], "fix_point": 3}],
        "confidence_threshold": 0.3,
        "iou_threshold": 0.45,
        "max_detections": 100,
        "origin": {},
        "accuracy": {},
    }
    write_bundle(tmp_path / "a.bundle", fields, b"graph", ["x"])
    (tmp_path / "stage.json").write_text("{}")
    target = tmp_path / "out" / "out.xmodel"
    target.parent.mkdir()
    for model in (tmp_path, tmp_path / "a.bundle"):  # the stage's folder, and the bundle in it
        assert main(["export", str(model), "--to", "xmodel", str(target)]) == 0
        assert target.read_bytes() == b"graph"
        target.unlink()
        assert main(["export", str(model), "--to", "onnx", str(tmp_path / "out.onnx")]) == 2
        assert "Name the distill stage" in capsys.readouterr().err
    (tmp_path / "a.bundle" / "model.xmodel").write_bytes(b"other")
    assert main(["export", str(tmp_path / "a.bundle"), "--to", "xmodel", str(target)]) == 1
    assert "model.xmodel" in capsys.readouterr().err and not target.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--to", "onnx", "a.onnx"], 2, "expected a MODEL"),
        (["{stage}", "--cfg", "x", "--to", "onnx", "a.onnx"], 2, "found both or none"),
        (["--cfg", "x", "--to", "onnx", "a.onnx"], 2, "found one of them"),
        (["{stage}", "--to", "tflite", "a.tflite"], 2, "found 'tflite'"),
        (["{stage}", "--to", "onnx", "missing/a.onnx"], 2, "missing/a.onnx: expected an existing folder"),
        (["{stage}", "--to", "weights", "{stage}/model.weights"], 2, "another file than the model's own"),
        (["{stage}", "--to", "weights", "a.cfg"], 2, "expected a name that ends in .weights"),
        (["{stage}", "--to", "onnx", "a.weights"], 2, "Use NAME.onnx"),
        (["{stage}", "--to", "weights", "a.onnx"], 2, "Use NAME.weights"),
        (["{stage}", "--to", "xmodel", "a.weights"], 2, "Use NAME.xmodel"),
        (["{int8}", "--to", "onnx", "a.onnx"], 2, "Name the distill stage of its run"),
        (["{int8}", "--to", "weights", "a.weights"], 2, "Name the distill stage of its run"),
        (["{int8}/a_int.xmodel", "--to", "onnx", "a.onnx"], 2, "Name the distill stage of its run"),
        (["missing", "--to", "onnx", "a.onnx"], 1, "found no model.cfg"),
        (["--cfg", "{stage}/model.cfg", "--weights", "x", "--to", "xmodel", "a.xmodel"], 2, "Quantise it first"),
    ],
)
def test_wrong_use_is_explained(
    arguments: list[str],
    code: int,
    message: str,
    stage: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each misuse exits non-zero, says what was expected, and writes nothing."""
    monkeypatch.chdir(tmp_path)
    int8 = tmp_path / "quantize"
    int8.mkdir()
    (int8 / "a_int.xmodel").write_bytes(b"graph")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["export", *[part.format(stage=stage, int8=int8) for part in arguments]]) == code
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
