"""`roadslim prune` without a config."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from compress.darknet.model_files import load_folder, save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import randomise
from compress.darknet.topologies import yolov3_cfg
from roadslim import main

FIELDS = {
    "schema_version", "roadslim_version", "params_before", "params_after", "gmacs_before", "gmacs_after",
    "predicted_dpu_ms_before", "predicted_dpu_ms_after", "blocks_removed", "compact_vs_masked_max_abs",
    "folding_error_inside", "folding_error_border", "seconds",
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> tuple[list[str], Path]:
    """Flags that name a small model, and its folder."""
    folder = tmp_path / "full"
    save_model(randomise(DarknetNetwork(yolov3_cfg(6, (64, 64), 0.125))), folder)
    return ["--cfg", str(folder / "model.cfg"), "--weights", str(folder / "model.weights")], folder


def exit_code(arguments: list[str]) -> int | str | None:
    """Of the program, also where argparse ends it."""
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code


def test_a_smaller_model_and_its_report_are_written(
    model: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder holds a model that loads, and prune.json, which is what --json prints; the input stays."""
    flags, full = model
    before = {path.name: path.read_bytes() for path in full.iterdir()}
    out = tmp_path / "small"
    assert main(["prune", *flags, "--out", str(out), "--channels", "85%", "--blocks", "8", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "prune.json").read_text())
    assert report.keys() >= FIELDS and report["schema_version"] == 1 and report["blocks_removed"] == 8
    assert report["compact_vs_masked_max_abs"] <= 1e-4
    assert report["params_after"] == sum(p.numel() for p in load_folder(out).parameters())
    assert {path.name: path.read_bytes() for path in full.iterdir()} == before


def test_the_summary_shows_the_check(
    model: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --json a reader sees sizes before and after and compact_vs_masked_max_abs; a target is reached."""
    flags, _ = model
    assert main(["prune", *flags, "--out", str(tmp_path / "small"), "--target-params", "300000"]) == 0
    text = capsys.readouterr().out
    assert "compact_vs_masked_max_abs" in text and "parameters" in text and "974,875" in text
    assert sum(p.numel() for p in load_folder(tmp_path / "small").parameters()) <= 300_000


def test_every_flag_of_a_target_counts(
    model: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A time on a board, widths in multiples and a number of blocks are all met; the published way runs, too."""
    flags, _ = model
    out = tmp_path / "small"
    wishes = ["--target-ms", "0.82", "--board", "kv260", "--width-multiple", "16", "--blocks", "2", "--min-share", "2%"]
    assert main(["prune", *flags, "--out", str(out), *wishes, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["board"] == "kv260" and report["blocks_removed"] == 2
    assert 0.98 * 0.82 <= report["predicted_dpu_ms_after"] <= 0.82
    assert main(["prune", *flags, "--out", str(tmp_path / "slim"), "--method", "slimming", "--blocks", "auto"]) == 0
    ms = {}
    for prefer in ("speed", "accuracy"):
        wishes = ["--target-params", "200000", "--prefer", prefer, "--json"]
        capsys.readouterr()
        assert main(["prune", *flags, "--out", str(tmp_path / prefer), *wishes]) == 0
        ms[prefer] = json.loads(capsys.readouterr().out)["predicted_dpu_ms_after"]
    assert ms["accuracy"] > ms["speed"]


def test_layers_are_printed_and_drawn_and_statistics_settled(
    model: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--layers prints every layer, layers.png is always there; --calibration puts the images into the report."""
    flags, _ = model
    pictures, out = tmp_path / "pictures", tmp_path / "small"
    pictures.mkdir()
    for number in range(3):
        cv2.imwrite(str(pictures / f"{number}.png"), np.full((64, 64, 3), 60 * number, np.uint8))
    wishes = ["--channels", "50%", "--layers", "--calibration", str(pictures)]
    assert main(["prune", *flags, "--out", str(out), *wishes]) == 0
    text = capsys.readouterr().out
    assert "estimated anew on 3 images" in text and "conv 3x3" in text and "shortcut" in text
    assert json.loads((out / "prune.json").read_text())["recalibration_images"] == 3
    assert cv2.imread(str(out / "layers.png")) is not None


def test_channels_by_what_they_explain(
    model: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other ones than by their scales, over the images of --calibration; the report says so and advises no sparsify."""
    flags, full = model
    pictures, out, by_gamma = tmp_path / "pictures", tmp_path / "small", tmp_path / "by-gamma"
    pictures.mkdir()
    rng = np.random.default_rng(3)
    for number in range(4):
        cv2.imwrite(str(pictures / f"{number}.png"), rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    half = sum(p.numel() for p in load_folder(full).parameters()) // 2
    wishes = ["--target-params", str(half), "--calibration", str(pictures)]
    assert main(["prune", *flags, "--out", str(out), *wishes, "--importance", "reconstruction"]) == 0
    assert "the network is tuned again\n" in capsys.readouterr().out
    assert main(["prune", *flags, "--out", str(by_gamma), *wishes]) == 0
    assert "the network is tuned again; after `roadslim sparsify`" in capsys.readouterr().out
    found = [json.loads((folder / "prune.json").read_text()) for folder in (out, by_gamma)]
    assert [report["importance"] for report in found] == ["reconstruction", "gamma"]
    assert all(0.98 * half <= report["params_after"] <= half for report in found)
    assert (out / "model.cfg").read_text() != (by_gamma / "model.cfg").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--out", "new", "--target-ms", "9", "--importance", "reconstruction"],
            2,
            "found none. Name a folder of them",
        ),
        (["--out", "new", "--importance", "reconstruction"], 2, "found 'cost' and none. Give them"),
        (
            ["--out", "new", "--importance", "reconstruction", "--method", "slimming"],
            2,
            "expected method 'cost' and a target beside 'reconstruction', found 'slimming' and none",
        ),
        (["--out", "{full}"], 2, "another folder than the model's own"),
        (["--out", "new", "--channels", "85 percent"], 2, "--channels: expected a share"),
        (["--out", "new", "--channels", "850%"], 2, "--channels: expected a share"),
        (["--out", "new", "--channels", "0.5", "--target-params", "9"], 2, "found both"),
        (["--out", "new", "--channels", "0.5", "--target-ms", "9"], 2, "found both"),
        (["--out", "new", "--blocks", "some"], 2, "--blocks: expected a number of blocks, or auto, found 'some'"),
        (["--out", "new", "--blocks", "-1"], 2, "--blocks"),
        (["--out", "new", "--method", "slimming", "--target-ms", "9"], 2, "found a target. Leave it out"),
        (["--out", "new", "--method", "slimming", "--width-multiple", "8"], 2, "found width_multiple 8"),
        (["--out", "new", "--target-params", "9", "--prefer", "size"], 2, "invalid choice: 'size'"),
        (
            ["--out", "new", "--target-ms", "9", "--prefer", "accuracy"],
            2,
            "prefer: expected target_params or target_gmacs",
        ),
        (["--out", "new", "--target-ms", "9", "--board", "zcu1"], 2, "expected a board out of zcu104"),
        (["--out", "new", "--target-ms", "0.1"], 1, "found nothing nearer than"),
        (["--out", "new", "--blocks", "24"], 1, "at most 23 blocks"),
        (["--out", "new", "--target-gmacs", "1e-9"], 1, "expected to reach"),
        (["--out", "new", "--calibration", "none"], 1, "expected a folder of calibration images"),
        (["config.yaml", "--layers"], 2, "found CONFIG and --layers"),
        ([], 2, "found no --out"),
        (["config.yaml", "--blocks", "2"], 2, "found CONFIG and --blocks"),
        (["--out", "new", "--model", "{full}"], 2, "found --cfg and --weights and --model. Give one or the other"),
        (["--out", "{full}", "--fresh"], 2, "another folder than the model's own"),
        (["--out", "{full}/model.cfg"], 2, "--out: expected a folder, found the file"),
        (["--out", "{full}/model.cfg/new"], 2, "--out: expected a folder, found the file"),
        (["--out", "new", "--print-config"], 2, "--print-config: expected a CONFIG"),
    ],
)
def test_wrong_use_is_explained_and_writes_nothing(
    arguments: list[str],
    code: int,
    message: str,
    model: tuple[list[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each misuse exits non-zero, says what was expected, and leaves every file as it was."""
    monkeypatch.chdir(tmp_path)
    flags, full = model
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert exit_code(["prune", *[part.format(full=full) for part in arguments], *flags]) == code
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_earlier_result_is_only_replaced_when_asked(
    model: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever of it is there stops the pruning before any work; --fresh replaces it, in a folder with other files."""
    flags, _ = model
    out = tmp_path / "small"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert main(["prune", *flags, "--out", str(out), "--channels", "50%"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main(["prune", "--cfg", "none", "--weights", "none", "--out", str(out)]) == 2
    assert "found model.cfg, model.weights, prune.json, layers.png in" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert main(["prune", *flags, "--out", str(out), "--channels", "70%", "--fresh"]) == 0
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    assert after.keys() == before.keys() and after["model.cfg"] != before["model.cfg"]
    for name in ("model.cfg", "model.weights", "layers.png"):
        (out / name).unlink()
    assert main(["prune", *flags, "--out", str(out)]) == 2
    assert "found prune.json in" in capsys.readouterr().err


def test_weights_that_do_not_fit_are_named(
    model: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truncated weights stop the pruning with their layer, before anything is written."""
    flags, full = model
    content = (full / "model.weights").read_bytes()
    (full / "model.weights").write_bytes(content[: len(content) // 2 // 4 * 4])
    assert main(["prune", *flags, "--out", str(tmp_path / "new")]) == 1
    assert "they end in layer" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
