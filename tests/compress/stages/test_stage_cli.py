"""The stages of a CONFIG on the command line."""

from __future__ import annotations

import argparse
import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from compress.cli import add_parser
from compress.config import CompressConfig, load_config
from roadslim import main


@pytest.mark.parametrize("stage", ["train", "sparsify", "prune", "distill", "quantize"])
def test_a_finished_stage_shows_its_results_without_running(
    stage: str, finished_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As text and as JSON, which is the document of prune.json for the prune stage."""
    folder = load_config(finished_copy).folder / stage
    before = (folder / "stage.json").stat().st_mtime_ns
    assert main([stage, str(finished_copy)]) == 0
    text = capsys.readouterr().out
    assert ("compact_vs_masked_max_abs" if stage == "prune" else "mAP50") in text
    if stage == "quantize":
        assert "parameters" in text and re.search(r"mAP50 float +\d+\.\d %\n", text) and "{" not in text
    assert main([stage, str(finished_copy), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema_version"] == 1 and "roadslim_version" in report
    if stage == "prune":
        assert report == json.loads((folder / "prune.json").read_text())
    else:
        assert report["map50"] == json.loads((folder / "stage.json").read_text())["results"]["map50"]
    assert (folder / "stage.json").stat().st_mtime_ns == before


def test_compress_says_what_is_finished_and_where(
    finished_copy: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A bundle is named only where there is one of this run; its own line tells path and accuracy."""
    folder = load_config(finished_copy).folder
    with caplog.at_level(logging.INFO):
        assert main(["compress", str(finished_copy), "--fresh", "bundle"]) == 0
    text, line = capsys.readouterr().out, caplog.messages[-1]
    assert f"The bundle is {folder / 'bundle' / 'small.bundle'}; every stage is in {folder}/" in text
    quantize = next(line for line in text.splitlines() if line.startswith("quantize"))
    assert "parameters" in quantize and "mAP50 float" in quantize and "int8" in quantize
    assert str(folder / "bundle" / "small.bundle") in line and "mAP50 float" in line and "{" not in line
    shutil.rmtree(folder / "distill")
    assert main(["compress", str(finished_copy), "--until", "prune"]) == 0
    text = capsys.readouterr().out
    assert f"Finished up to prune, in {folder}/; there is no bundle of it yet" in text
    assert "quantize" not in text and "distill" not in text


@pytest.mark.parametrize("stage", ["prune", "quantize"])
def test_fresh_runs_one_stage_again(stage: str, finished_copy: Path) -> None:
    """Every stage's own command has --fresh."""
    document = load_config(finished_copy).folder / stage / "stage.json"
    before = document.stat().st_mtime_ns
    assert main([stage, str(finished_copy), "--fresh"]) == 0
    assert document.stat().st_mtime_ns != before


@pytest.mark.parametrize("command", ["compress", "train", "prune", "quantize"])
def test_print_config_shows_what_holds_and_where_it_comes_from(
    command: str, small_run, capsys: pytest.CaptureFixture[str]
) -> None:
    """A YAML file that says the same, with the origin of every value; nothing is run."""
    path = small_run()
    config = load_config(path)
    assert main([command, str(path), "--print-config"]) == 0
    text = capsys.readouterr().out
    assert CompressConfig.model_validate(yaml.safe_load(text)) == config
    origins = {line.split(":")[0].strip(): line.rpartition("# ")[2] for line in text.splitlines() if "# " in line}
    assert origins["topology"] == "default" and origins["cfg"] == str(path)
    assert main([command, str(path), "--print-config", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["origins"]["train.epochs"] == str(path) and document["origins"]["train.ema_steps"] == "default"
    assert document["config"] == config.model_dump(mode="json")
    assert not config.folder.exists()


@pytest.mark.parametrize("stage", ["train", "sparsify", "distill"])
def test_only_train_tells_what_becomes_of_the_width(stage: str) -> None:
    """No other stage has a use for it."""
    parser = argparse.ArgumentParser()
    add_parser(stage, parser)
    assert ("`width`" in parser.format_help()) == (stage == "train")


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _name_in_network(config: Path, entry: str) -> None:
    _edit(config, "input_hw: [64, 96]", f"input_hw: [64, 96], {entry}")


def _label_outside(config: Path, data: Path) -> None:
    (data / "labels" / "03.txt").write_text("0 0.95 0.5 0.4 0.2\n")


def _unknown_class(config: Path, data: Path) -> None:
    (data / "labels" / "03.txt").write_text("9 0.5 0.5 0.2 0.2\n")


def _no_image(config: Path, data: Path) -> None:
    (data / "images" / "03.png").write_text("<html>404</html>")


def _half_an_image(config: Path, data: Path) -> None:
    path = data / "images" / "03.png"
    path.write_bytes(path.read_bytes()[:40])


def _too_many_blocks(config: Path, data: Path) -> None:
    _edit(config, "blocks: 2", "blocks: 99")


def _missing_file(config: Path, data: Path) -> None:
    _name_in_network(config, "weights: none.weights")


def _misspelt_key(config: Path, data: Path) -> None:
    _edit(config, "evaluate_every", "evaluate_evry")


def _short_weights(config: Path, data: Path) -> None:
    weights = config.parent / "short.weights"
    weights.write_bytes((load_config(config).folder / "train" / "model.weights").read_bytes()[:-4000])
    _name_in_network(config, f"weights: {weights}")


def _long_weights(config: Path, data: Path) -> None:
    weights = config.parent / "long.weights"
    weights.write_bytes((load_config(config).folder / "train" / "model.weights").read_bytes() + bytes(400))
    _name_in_network(config, f"weights: {weights}")


def _cfg_with(config: Path, old: str, new: str) -> None:
    cfg, named = config.parent / "wrong.cfg", load_config(config).network.cfg
    assert named is not None
    cfg.write_text(named.read_text())
    _edit(cfg, old, new)
    _edit(config, str(named), str(cfg))


def _unknown_section(config: Path, data: Path) -> None:
    _cfg_with(config, "[shortcut]", "[shortcutt]")


def _unequal_shortcut(config: Path, data: Path) -> None:
    _cfg_with(config, "from=-3", "from=0")


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (_label_outside, 1, ["03.txt:1", "expected a box inside the image of 96x64", "Mend the box"]),
        (_unknown_class, 1, ["03.txt:1", "expected a class from 0 to 5", "found 9"]),
        (_no_image, 1, ["train.txt:4", "expected an image", "16 bytes"]),
        (_half_an_image, 1, ["03.png", "expected a readable image", "roadslim data check"]),
        (_too_many_blocks, 2, ["small.yaml: 'blocks' in [prune]: expected at most", "Lower it"]),
        (_missing_file, 2, ["small.yaml: 'weights' in [network]: expected a file at none.weights", "Correct the path"]),
        (_misspelt_key, 2, ["unknown key 'evaluate_evry' in [train]", "Did you mean 'evaluate_every'?"]),
        (_short_weights, 1, ["short.weights", "expected", "they end in layer"]),
        (_long_weights, 1, ["long.weights", "expected", "too many after the last one"]),
        (_unknown_section, 1, ["wrong.cfg, line", "found '[shortcutt]'", "Did you mean [shortcut]?"]),
        (_unequal_shortcut, 1, ["wrong.cfg, line", "expected two inputs of equal", "Correct 'from'"]),
    ],
)
def test_bad_input_is_explained_and_costs_nothing_that_was_there(
    spoil: Callable[[Path, Path], None],
    code: int,
    words: list[str],
    finished_copy: Path,
    small_data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Expected, found, what to do; exit not 0; every finished stage as it was, and skipped when the input is mended."""
    data, folder = finished_copy.parent / small_data.name, load_config(finished_copy).folder
    shutil.copytree(small_data, data)
    _edit(finished_copy, str(small_data), str(data))
    good = finished_copy.read_text()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    spoil(finished_copy, data)
    assert main(["compress", str(finished_copy)]) == code
    message = capsys.readouterr().err
    assert all(word in message for word in words) and "Traceback" not in message
    assert {path: path.read_bytes() for path in before} == before
    shutil.rmtree(data)
    shutil.copytree(small_data, data)
    finished_copy.write_text(good)
    assert main(["compress", str(finished_copy)]) == 0
    assert {path: path.read_bytes() for path in before} == before
