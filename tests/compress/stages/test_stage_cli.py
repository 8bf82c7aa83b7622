"""The stages of a CONFIG on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

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
    assert ("compact_vs_masked_max_abs" if stage == "prune" else "map50") in text
    assert main([stage, str(finished_copy), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema_version"] == 1 and "roadslim_version" in report
    if stage == "prune":
        assert report == json.loads((folder / "prune.json").read_text())
    else:
        assert report["map50"] == json.loads((folder / "stage.json").read_text())["results"]["map50"]
    assert (folder / "stage.json").stat().st_mtime_ns == before


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
    assert origins["topology"] == "default" and origins["input_hw"] == str(path)
    assert main([command, str(path), "--print-config", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["origins"]["train.epochs"] == str(path) and document["origins"]["train.ema_steps"] == "default"
    assert document["config"] == config.model_dump(mode="json")
    assert not config.folder.exists()
