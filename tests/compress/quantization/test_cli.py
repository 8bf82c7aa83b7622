"""`roadslim quantize` on a cfg, weights and a folder of images."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import roadslim
from compress.darknet.cfg import read_cfg
from compress.darknet.model_files import load_model, save_model
from compress.darknet.network import DarknetNetwork
from compress.quantization import quantize, to_xmodel
from compress.quantization.calibration_images import CalibrationImages
from dpu import xmodel
from dpu.executor import Executor


@pytest.fixture
def model(tmp_path: Path, cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]) -> dict[str, Path]:
    """A small network's files and a folder of five images, two of them not of its size."""
    cfg, weights = save_model(make_network(cfg_texts["tiny_yolo"], seed=8), tmp_path / "model")
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(1)
    for index, size_hw in enumerate([(32, 32), (32, 32), (20, 48), (32, 32), (64, 64)]):
        image = cv2.resize(random.integers(0, 256, (8, 8, 3), np.uint8), size_hw[::-1])
        cv2.imwrite(str(folder / f"image{index}.png"), image)
    (folder / "notes.txt").write_text("not an image, and not taken for one\n")
    return {"cfg": cfg, "weights": weights, "calibration": folder, "out": tmp_path / "road_int.xmodel"}


def arguments(model: dict[str, Path], *more: str) -> list[str]:
    """The command line."""
    return ["quantize", *(part for flag, path in model.items() for part in (f"--{flag}", str(path))), *more]


def test_quantizes_a_folder(model: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The file is the quantiser's graph over the folder's images in name order, the last batch smaller."""
    assert roadslim.main(arguments(model, "--json", "--batch", "2")) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema_version"] == 1
    assert (report["images"], report["batches"], report["bias_correction"]) == (5, 3, True)
    network = load_model(model["cfg"], model["weights"])
    images = CalibrationImages(model["calibration"], (32, 32), 2)
    assert [len(batch) for batch in images] == [2, 2, 1]
    expected = quantize(network, images)
    assert report["positions"] == json.loads(json.dumps(expected.positions()))
    assert [output["tensor"] for output in report["outputs"]] == [head.tensor for head in expected.heads]
    assert xmodel.load(model["out"]) == to_xmodel(expected, "road")


def test_bias_correction_can_be_off(model: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """`--bias-correction off` is passed on, and the plain report says so."""
    assert roadslim.main(arguments(model, "--bias-correction", "off")) == 0
    assert "bias correction off" in capsys.readouterr().out
    images = CalibrationImages(model["calibration"], (32, 32), 4)
    expected = quantize(load_model(model["cfg"], model["weights"]), images, bias_correction=False)
    assert xmodel.load(model["out"]) == to_xmodel(expected, "road")


def test_images_are_rgb_in_name_order(tmp_path: Path) -> None:
    """Pixels are RGB / 255, as float32."""
    for name, bgr in (("b.png", (255, 0, 51)), ("a.png", (0, 102, 0))):
        cv2.imwrite(str(tmp_path / name), np.full((4, 4, 3), bgr, np.uint8))
    (batch,) = CalibrationImages(tmp_path, (4, 4), 8)
    np.testing.assert_array_equal(
        batch[:, :, 0, 0], np.array([[0, 102, 0], [51, 0, 255]], np.float32) / np.float32(255)
    )


def test_reference_case_by_command_alone(shared_data: Path, tmp_path: Path) -> None:
    """From files to head integers by command: nndct's, every one."""
    folder = shared_data / "nndct_reference" / "cfg_tiny"
    files = {"cfg": folder / "net.cfg", "weights": folder / "net.weights", "calibration": folder / "calib"}
    out = tmp_path / "tiny_int.xmodel"
    assert roadslim.main(arguments({**files, "out": out}, "--batch", "4", "--bias-correction", "off")) == 0
    graph = xmodel.load(out)
    dpu = Executor(graph)
    with np.load(folder / "golden.npz") as golden:
        for image in ("test00", "test01", "test02"):
            found = dpu.run({"input_0_fix": golden[f"int8/{image}/input"]})
            for index, tensor in enumerate(graph.value("return_ops")):
                np.testing.assert_array_equal(found[tensor], golden[f"out/{image}/HEAD{index}"])


def _empty(model: dict[str, Path]) -> None:
    for path in model["calibration"].iterdir():
        path.unlink()


def _no_image(model: dict[str, Path]) -> None:
    (model["calibration"] / "image3.png").write_text("hello")


def _nan_weights(model: dict[str, Path]) -> None:
    content = bytearray(model["weights"].read_bytes())
    content[-4:] = np.float32(np.nan).tobytes()
    model["weights"].write_bytes(content)


def _no_folder(model: dict[str, Path]) -> None:
    model["calibration"] = model["calibration"] / "missing"


def _only_text(model: dict[str, Path]) -> None:
    _empty(model)
    (model["calibration"] / "notes.txt").write_text("no image here\n")


def _cut_off_image(model: dict[str, Path]) -> None:
    path = model["calibration"] / "image4.png"
    path.write_bytes(path.read_bytes()[:120])


def _empty_image(model: dict[str, Path]) -> None:
    (model["calibration"] / "image4.png").write_bytes(b"")


def _infinite_weights(model: dict[str, Path]) -> None:
    content = bytearray(model["weights"].read_bytes())
    content[-8:-4] = np.float32(np.inf).tobytes()
    model["weights"].write_bytes(content)


def _other_weights(model: dict[str, Path]) -> None:
    model["weights"].write_bytes(model["weights"].read_bytes()[:-400])


def _layer_without_int8(model: dict[str, Path]) -> None:
    text = model["cfg"].read_text()
    model["cfg"].write_text(text.replace("activation=leaky", "activation=mish", 1))
    save_model(DarknetNetwork(read_cfg(model["cfg"])), model["cfg"].parent)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_empty, "none"),
        (_only_text, "none"),
        (_no_folder, "missing"),
        (_no_image, "image3.png"),
        (_cut_off_image, "image4.png"),
        (_empty_image, "image4.png"),
        (_nan_weights, "NaN"),
        (_infinite_weights, "NaN"),
        (_other_weights, "model.weights"),
        (_layer_without_int8, "runs in int8 on the DPU"),
    ],
)
def test_bad_input_leaves_the_old_file(
    model: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[dict[str, Path]], None],
    message: str,
) -> None:
    """No images, one that is none, weights that are not finite or another cfg's: named, exit 1, the old file stays."""
    model["out"].write_bytes(b"old")
    spoil(model)
    assert roadslim.main(arguments(model)) == 1
    captured = capsys.readouterr()
    assert message in captured.err and "expected" in captured.err and "Traceback" not in captured.err
    assert captured.out == ""
    assert [path.name for path in model["out"].parent.glob("*road_int*")] == ["road_int.xmodel"]
    assert model["out"].read_bytes() == b"old"


@pytest.mark.parametrize(
    "argv",
    [
        ["quantize"],
        ["quantize", "--cfg", "model.cfg"],
        ["quantize", "config.yaml", "--cfg", "model.cfg"],
        ["quantize", "config.yaml", "--batch", "4"],
        ["quantize", "config.yaml", "--bias-correction", "off"],
        ["quantize", "config.yaml", "--calibration-target", "outputs"],
        ["quantize", "config.yaml", "--equalization", "activations"],
        ["quantize", "--cfg", "a", "--weights", "b", "--calibration", "c", "--out", "d", "--fresh"],
        ["quantize", "--cfg", "a", "--weights", "b", "--calibration", "c", "--out", "d", "--batch", "0"],
        ["quantize", "--cfg", "a", "--weights", "b", "--calibration", "c", "--out", "no/such/folder/d"],
    ],
)
def test_usage_errors(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Flags that do not make sense together are exit 2, with what was expected."""
    assert roadslim.main(argv) == 2
    assert "expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--batch", "0"), "--batch: expected 1 or more"),
        (("--report", "no/such/folder"), "--report: expected an existing folder"),
        (("--report", "{cfg}"), "--report: expected a folder, found the file"),
        (("--out", "{calibration}"), "--out: expected a file's name, found the folder"),
    ],
)
def test_flags_that_do_not_fit(
    model: dict[str, Path], capsys: pytest.CaptureFixture[str], more: tuple[str, str], message: str
) -> None:
    """A batch of none, and places that cannot be written, are exit 2."""
    assert roadslim.main(arguments(model, *(part.format(**model) for part in more))) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""
    assert not model["out"].exists()


def test_fewer_images_than_a_batch(model: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of one image is a batch of one."""
    for path in sorted(model["calibration"].glob("*.png"))[1:]:
        path.unlink()
    assert roadslim.main(arguments(model, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["batches"] == 1


def test_folder_closed_to_the_user(
    model: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without permission to write is found out before the work."""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert roadslim.main(arguments(model)) == 2
    assert "closed to you" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--report", "{report}")])
def test_full_disk_leaves_nothing_half_written(
    model: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    more: tuple[str, ...],
) -> None:
    """When the disk is full the old file stays, no part of a new one is left, and the error says so."""
    model["out"].write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    report = tmp_path / "report"
    assert roadslim.main(arguments(model, *(part.format(report=report) for part in more))) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert model["out"].read_bytes() == b"old"
    assert not [path for path in tmp_path.rglob("*") if "part" in path.name]
    assert not report.exists() or not any(report.iterdir())


def test_report_beside_the_graph(model: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`--report` prints the worst layers and writes figures and picture; the graph is the same as without it."""
    report = tmp_path / "losses"
    assert roadslim.main(arguments(model)) == 0
    without = xmodel.load(model["out"])
    capsys.readouterr()
    assert roadslim.main(arguments(model, "--report", str(report))) == 0
    printed = capsys.readouterr().out
    assert "where int8 loses, worst first" in printed and str(report) in printed
    assert sorted(path.name for path in report.iterdir()) == ["report.json", "report.png"]
    assert json.loads((report / "report.json").read_text())["images"] == 5
    assert xmodel.load(model["out"]) == without


def test_calibration_by_the_outputs(model: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """`--calibration-target outputs` is passed on and says by how much the heads came nearer."""
    assert roadslim.main(arguments(model, "--calibration-target", "outputs", "--json")) == 0
    report = json.loads(capsys.readouterr().out)
    images = CalibrationImages(model["calibration"], (32, 32), 4)
    expected = quantize(load_model(model["cfg"], model["weights"]), images, calibration_target="outputs")
    assert (report["calibration_target"], report["heads_gain_db"]) == ("outputs", expected.heads_gain_db)
    assert xmodel.load(model["out"]) == to_xmodel(expected, "road")
    assert roadslim.main(arguments(model, "--calibration-target", "outputs")) == 0
    assert f"{expected.heads_gain_db:.2f} dB nearer" in capsys.readouterr().out


def test_report_and_config_do_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    """The stage of a run has its report in its folder."""
    assert roadslim.main(["quantize", "config.yaml", "--report", "losses"]) == 2
    assert "expected CONFIG or --report" in capsys.readouterr().err
