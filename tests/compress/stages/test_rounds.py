"""The prune stage in rounds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from board_app.core.atomic_file import sha256_of
from board_app.core.errors import InputError, UsageError
from compress.config import load_config
from compress.darknet.cfg import read_cfg
from compress.darknet.model_files import load_folder, save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import randomise
from compress.darknet.topologies import with_classes
from compress.pruning import removable_blocks
from compress.stages import cut, rounds, run_stages

SMALL_CFG = Path(__file__).parents[1] / "small.cfg"
BETWEEN = "between: {epochs: 2, batch_size: 6, evaluate_every: 2}"
CONFIG = """
name: small
data: {data}
runs: {runs}
threads: 1
network: {{input_hw: [64, 96]}}
given: {{sparsify: [{sparse}]}}
prune: {{{prune}}}
"""


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """A folder with a network of random weights."""
    network = DarknetNetwork(with_classes(read_cfg(SMALL_CFG), 6))
    save_model(randomise(network, share_zero=0.3), tmp_path / "sparse")
    return tmp_path / "sparse"


@pytest.fixture
def prune_stage(sparse: Path, small_data: Path, tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """Runs the prune stage with some settings; gives its folder and results."""

    def run(prune: str, name: str = "runs", on_epoch: Callable[..., None] | None = None) -> tuple[Path, dict[str, Any]]:
        path = tmp_path / "config.yaml"
        path.write_text(CONFIG.format(data=small_data, runs=tmp_path / name, sparse=sparse, prune=prune))
        config = load_config(path)
        run_stages(config, "prune", on_epoch=on_epoch)
        folder = config.folder / "prune"
        return folder, json.loads((folder / "stage.json").read_text())["results"]

    return run


def report_of(folder: Path) -> dict[str, Any]:
    """The stage's prune.json."""
    return dict(json.loads((folder / "prune.json").read_text()))


def test_rounds_choose_by_what_channels_explain(prune_stage: Callable[..., tuple[Path, dict[str, Any]]]) -> None:
    """Each over pictures of its own network; the goal is met, and no one cut led there."""
    wanted = "importance: reconstruction, target_params: 9000, width_multiple: 1"
    folder, results = prune_stage(f"{wanted}, rounds: 2, recalibration_images: 8, {BETWEEN}")
    assert 0.98 * 9000 <= results["params"] <= 9000 and len(results["rounds"]) == 2
    assert report_of(folder)["importance"] == "reconstruction"
    assert not (folder / "kept.json").exists()


def test_rounds_come_to_the_goal(prune_stage: Callable[..., tuple[Path, dict[str, Any]]], sparse: Path) -> None:
    """Three rounds with a training between them cut what was asked for, and one report covers all of them."""
    folder, results = prune_stage(f"channels: 60%, blocks: 2, rounds: 3, recalibration_images: 8, {BETWEEN}")
    report, whole, small = report_of(folder), load_folder(sparse), load_folder(folder)
    assert [row["round"] for row in results["rounds"]] == [1, 2, 3] and results["rounds"] == report["rounds"]
    assert [row["map50_tuned"] is None for row in results["rounds"]] == [False, False, True]
    sizes = [report["params_before"], *(row["params"] for row in results["rounds"])]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4 and sizes[-1] == results["params"]
    assert report["params_before"] == sum(value.numel() for value in whole.parameters())
    assert report["params_after"] == sum(value.numel() for value in small.parameters())
    assert len(removable_blocks(whole.cfg)) - len(removable_blocks(small.cfg)) == report["blocks_removed"] == 2
    gone = {row["layer"] for row in report["layers"] if row["channels_after"] == 0}
    assert {layer for layer in gone if whole.cfg.layers[layer].type == "shortcut"} == set(report["removed_shortcuts"])
    assert 0.5 < 1 - report["channels_after"] / report["channels_before"] < 0.8
    assert report["compact_vs_masked_max_abs"] <= 1e-4 and report["recalibration_images"] == 8
    for name in ("params", "gmacs", "predicted_dpu_ms"):
        for when in ("before", "after"):
            in_rows = sum(row[f"{name}_{when}"] for row in report["layers"])
            assert in_rows == pytest.approx(report[f"{name}_{when}"])
    assert not list(folder.rglob("checkpoint.pt"))


def test_a_target_is_reached_in_rounds(prune_stage: Callable[..., tuple[Path, dict[str, Any]]]) -> None:
    """The parameters fall by about the same factor each round, down to the target."""
    folder, results = prune_stage(
        "target_params: 5000, width_multiple: 1, blocks: 0, rounds: 2, recalibration_images: 0"
    )
    before = report_of(folder)["params_before"]
    first, last = (row["params"] for row in results["rounds"])
    assert last <= 5000 < first < before
    assert 0.5 < (before / first) / (first / last) < 2
    assert results["map50_straight"] == results["map50"]


@pytest.fixture
def accuracies(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What the cuts' mAP50 is to be, in the order in which they are measured."""
    planned: list[float] = []
    monkeypatch.setattr(cut, "_accuracy", lambda run, network: (planned.pop(0), 0.1))
    yield planned


def test_the_last_round_above_the_floor_is_kept(
    prune_stage: Callable[..., tuple[Path, dict[str, Any]]], accuracies: list[float]
) -> None:
    """The second of three rounds falls below: the first one's tuned network is the result, the third is not begun."""
    accuracies += [0.8, 0.4]
    folder, results = prune_stage(
        f"channels: 60%, blocks: 0, rounds: 3, floor_map50: 50%, recalibration_images: 0, {BETWEEN}"
    )
    assert [row["kept"] for row in results["rounds"]] == [True, False]
    assert results["params"] == results["rounds"][0]["params"] == report_of(folder)["params_after"]
    assert results["map50"] == results["rounds"][0]["map50_tuned"] and results["map50_straight"] == 0.8
    tuned = folder / "rounds" / "1" / "tuned"
    assert sha256_of(tuned / "model.weights") == sha256_of(folder / "model.weights")


def test_a_floor_that_no_round_holds_is_told(
    prune_stage: Callable[..., tuple[Path, dict[str, Any]]], accuracies: list[float]
) -> None:
    """The error has what the first round came to."""
    accuracies += [0.3]
    with pytest.raises(InputError, match=r"above floor_map50 0.5, found mAP50 0.3000 after it. Lower the floor"):
        prune_stage("channels: 60%, blocks: 0, rounds: 3, floor_map50: 50%, recalibration_images: 0")


def test_a_killed_stage_goes_on_with_its_round(
    prune_stage: Callable[..., tuple[Path, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the training after the first round, it does not cut that one again and ends the same to the bit."""
    settings = f"channels: 60%, blocks: 2, rounds: 2, recalibration_images: 8, {BETWEEN}"
    undisturbed, results = prune_stage(settings, "undisturbed")
    cuts = []
    one_cut = cut.cut

    def counted(*arguments: Any) -> cut.Cut:
        cuts.append(arguments)
        return one_cut(*arguments)

    def interrupt(stage: str, metrics: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rounds, "cut", counted)
    with pytest.raises(KeyboardInterrupt):
        prune_stage(settings, "killed", interrupt)
    assert len(cuts) == 1
    folder, again = prune_stage(settings, "killed")
    assert len(cuts) == 2
    assert again == results
    for name in ("model.cfg", "model.weights"):
        assert sha256_of(folder / name) == sha256_of(undisturbed / name)


def test_what_only_rounds_have_needs_rounds(prune_stage: Callable[..., tuple[Path, dict[str, Any]]]) -> None:
    """A training between cuts, or a floor, beside a single cut is refused."""
    for settings in (BETWEEN, "floor_map50: 50%"):
        with pytest.raises(UsageError, match="rounds of at least 2"):
            prune_stage(f"channels: 60%, {settings}")


def test_both_accuracies_of_a_cut_are_told(prune_stage: Callable[..., tuple[Path, dict[str, Any]]]) -> None:
    """One cut of live channels: mAP before and after the statistics, and on how many images these were estimated."""
    folder, results = prune_stage("channels: 40%, blocks: 0, recalibration_images: 8")
    assert report_of(folder)["recalibration_images"] == 8 and "rounds" not in results
    assert {"map50_straight", "map50", "map50_95"} <= results.keys()
