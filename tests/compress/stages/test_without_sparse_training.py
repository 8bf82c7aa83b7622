"""A run whose channels are chosen by what they explain: the trained network is pruned, and no sparse one is made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from board_app.core.errors import InputError
from compress.config import CompressConfig, load_config
from compress.darknet.cost import parameter_count
from compress.darknet.model_files import load_folder, save_model
from compress.estimate import estimate_run
from compress.pruning.report import PruneReport
from compress.stages import run_stages
from compress.stages.driver import run_single_stage
from compress.stages.run import Run


@pytest.fixture
def config(finished_copy: Path) -> CompressConfig:
    """Of a finished run, whose trained network now is cut to half of its parameters at once."""
    document = yaml.safe_load(finished_copy.read_text())
    trained = load_folder(load_config(finished_copy).folder / "train")
    document["prune"] = {
        "importance": "reconstruction",
        "target_params": parameter_count(trained.cfg) // 2,
        "width_multiple": 1,
    }
    finished_copy.write_text(yaml.safe_dump(document))
    return load_config(finished_copy)


def test_the_trained_network_is_pruned(config: CompressConfig) -> None:
    """To the target; the trained network is taken over, and the sparse one of before is no part of the run."""
    shutil.rmtree(config.folder / "sparsify")
    summary = run_stages(config, until="distill")
    assert [row["model"] for row in summary["rows"]] == ["train", "prune", "distill"]
    assert not (config.folder / "sparsify").exists()
    report = PruneReport.from_json((config.folder / "prune" / "prune.json").read_text())
    assert config.prune.target_params is not None
    assert 0.95 * config.prune.target_params <= report.params_after <= config.prune.target_params
    stage = json.loads((config.folder / "prune" / "stage.json").read_text())
    assert set(stage["inputs"]) == {"train", "data"} and stage["settings"]["prune"]["importance"] == "reconstruction"
    before = (config.folder / "prune" / "model.weights").read_bytes()
    run_single_stage(config, "prune", fresh=True)
    assert (config.folder / "prune" / "model.weights").read_bytes() == before


def test_a_sparse_network_may_be_given(config: CompressConfig, tmp_path: Path) -> None:
    """Then it is the one that is pruned."""
    save_model(load_folder(config.folder / "sparsify"), tmp_path / "sparse")
    given = config.given.model_copy(update={"sparsify": (tmp_path / "sparse",)})
    assert Run(config).uncut == "train"
    assert Run(config.model_copy(update={"given": given})).uncut == "sparsify"


def test_a_sparse_training_is_refused(config: CompressConfig) -> None:
    """What it would make small, nobody would look at."""
    with pytest.raises(InputError, match="'importance' in .prune.: expected gamma for a sparse training"):
        run_single_stage(config, "sparsify")


def test_its_stages_are_estimated(config: CompressConfig) -> None:
    """None of them trains anything sparse."""
    estimate = estimate_run(config, until="distill")
    assert [stage.stage for stage in estimate.stages] == ["train", "prune", "distill"]


def test_what_was_cut_by_gamma_is_not_cut_again(finished_copy: Path) -> None:
    """Its key is the one from before there was a choice."""
    config = load_config(finished_copy)
    assert "importance" not in config.prune.result_settings()
    made = (config.folder / "prune" / "stage.json").stat().st_mtime_ns
    run_stages(config, until="prune")
    assert (config.folder / "prune" / "stage.json").stat().st_mtime_ns == made
