"""Stages that start from networks made elsewhere, and runs in another folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from compress.config import load_config
from compress.darknet.cfg import read_cfg
from compress.darknet.cost import parameter_count
from compress.stages import run_stages
from compress.stages.run import Run
from roadslim import main


def with_section(path: Path, name: str, **settings: object) -> Path:
    """The configuration with these settings in one of its sections."""
    document = yaml.safe_load(path.read_text())
    document.setdefault(name, {}).update(settings)
    path.write_text(yaml.safe_dump(document))
    return path


def params(folder: Path) -> int:
    """Parameters of the network in a stage folder."""
    return parameter_count(read_cfg(folder / "model.cfg"))


@pytest.mark.parametrize(
    ("given", "until", "stages"),
    [
        ({}, "sparsify", {"train", "sparsify"}),
        ({"train": "a"}, "sparsify", {"sparsify"}),
        ({"train": "a"}, "train", set()),
        ({"prune": "a"}, "distill", {"train", "distill"}),  # the teacher
        ({"train": "a", "prune": ["b.cfg", "b.weights"]}, "bundle", {"distill", "quantize", "bundle"}),
        ({"distill": "a"}, "bundle", {"quantize", "bundle"}),
    ],
)
def test_a_given_network_stands_for_a_stage(
    given: dict[str, object],
    until: str,
    stages: set[str],
    small_run: Callable[[], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That stage, and what only it needs, is not run."""
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    for name in ("a/model.cfg", "b.cfg", "b.weights"):
        Path(name).touch()
    assert Run(load_config(with_section(small_run(), "given", **given))).stages_to(until) == stages


def test_a_run_goes_on_from_a_given_network(finished_small_run: Path, small_run: Callable[[], Path]) -> None:
    """What was trained elsewhere is fine-tuned and quantised with the same result as in its own run."""
    stages = {stage: str(finished_small_run / stage) for stage in ("train", "prune")}
    config = load_config(with_section(small_run(), "given", **stages))
    rows = run_stages(config, until="quantize")["rows"]
    assert [row["model"] for row in rows] == ["distill", "quantize"]
    assert not (config.folder / "train").exists() and not (config.folder / "prune").exists()
    for name in ("distill/model.weights", "quantize/run_int.xmodel"):
        there = finished_small_run / name.replace("run_int", "small_int")
        assert (config.folder / name.replace("run_int", "small_int")).read_bytes() == there.read_bytes()


def test_a_stage_alone_takes_its_network_and_its_folder_by_flags(
    finished_small_run: Path, small_run: Callable[[], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage folder, or a cfg with its weights; the config's own run folder stays untouched."""
    path, pruned = small_run(), finished_small_run / "prune"
    flags = ["--model", str(finished_small_run / "sparsify"), "--out", str(tmp_path / "try")]
    assert main(["prune", str(path), *flags, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["blocks_removed"] == 2
    assert (tmp_path / "try" / "prune" / "model.weights").read_bytes() == (pruned / "model.weights").read_bytes()
    flags = ["--cfg", str(pruned / "model.cfg"), "--weights", str(pruned / "model.weights")]
    with_section(path, "distill", teacher=str(finished_small_run / "train"))
    assert main(["distill", str(path), *flags, "--out", str(tmp_path / "try")]) == 0
    assert params(tmp_path / "try" / "distill") == params(pruned)
    assert not load_config(path).folder.exists()


def test_the_finished_stages_are_told_where_an_earlier_one_is_not_needed_yet(
    finished_small_run: Path, small_run: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The teacher is trained later; and where networks are given for all, it is said that nothing had to run."""
    path = with_section(small_run(), "given", sparsify=str(finished_small_run / "sparsify"))
    assert main(["compress", str(path), "--until", "prune"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("prune ") and "Finished up to prune" in text
    assert main(["compress", str(path), "--until", "sparsify"]) == 0
    path = with_section(small_run("all"), "given", train=str(finished_small_run / "train"))
    assert main(["compress", str(path), "--until", "train"]) == 0
    assert capsys.readouterr().out.endswith("Nothing had to run: [given] names a network for every stage up to train\n")


@pytest.mark.parametrize(("stage", "model"), [("distill", "prune"), ("quantize", "distill")])
def test_a_teacher_that_is_not_there_is_told_as_the_teacher(
    stage: str, model: str, finished_small_run: Path, small_run: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """And how to name one."""
    assert main([stage, str(small_run()), "--model", str(finished_small_run / model)]) == 1
    message = capsys.readouterr().err
    assert "the teacher of the fine-tuning: expected the finished stage" in message
    assert "found none. Run `roadslim train` first, or name a network for it: `given: {train: FOLDER}`" in message


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("command", ["train", "prune", "compress"])
def test_a_run_folder_that_is_a_file_or_in_one_is_a_wrong_setting(
    command: str, nested: bool, small_run: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Expected, found, what to do; the file stays."""
    path = small_run()
    folder = load_config(path).folder
    file = folder.parent if nested else folder
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    assert main([command, str(path)]) == 2
    message = capsys.readouterr().err
    assert f"expected a run folder at {folder}, found the file {file}. Name another: --out" in message
    assert file.read_text() == "mine"


def test_flags_are_told_as_the_origin_of_what_they_set(
    small_run: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """--print-config shows what they did."""
    assert main(["train", str(small_run()), "--weights", "w", "--out", "a/b", "--print-config", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["config"]["network"]["weights"] == "w" and document["config"]["runs"] == "a"
    assert document["config"]["name"] == "b"
    assert {key for key, origin in document["origins"].items() if origin == "flag"} == {
        "network.weights", "runs", "name",
    }  # fmt: skip


def test_a_pruned_network_is_pruned_again(finished_small_run: Path, small_run: Callable[[], Path]) -> None:
    """As the start of a whole run, with the blocks that are left, it becomes smaller once more."""
    pruned = finished_small_run / "distill"
    path = with_section(small_run(), "prune", blocks=1, channels="20%")
    files = {"cfg": str(pruned / "model.cfg"), "weights": str(pruned / "model.weights")}
    config = load_config(with_section(path, "network", **files))
    run_stages(config, until="prune")
    assert params(config.folder / "train") == params(pruned) > params(config.folder / "prune")


def test_weights_of_another_cfg_are_told_with_layer_and_sizes(
    finished_small_run: Path, small_run: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written."""
    path = small_run()
    cfg, weights = finished_small_run / "train" / "model.cfg", finished_small_run / "prune" / "model.weights"
    assert main(["prune", str(path), "--cfg", str(cfg), "--weights", str(weights)]) == 1
    message = capsys.readouterr().err
    assert "model.weights: expected" in message and "layer" in message
    assert not (load_config(path).folder / "prune").exists()
