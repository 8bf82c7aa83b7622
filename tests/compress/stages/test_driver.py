"""What the stages follow from, and what the driver does with what is there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from board_app.core.bundle import load_bundle
from board_app.core.errors import InputError, RoadslimError, UsageError
from compress.config import CompressConfig, load_config
from compress.darknet.cfg import read_cfg
from compress.stages import STAGE_NAMES, run_single_stage, run_stages
from compress.stages.folder import StageFolder
from compress.stages.int8 import bundle_key
from compress.stages.run import Run


def changed(config: CompressConfig, section: str, **settings: object) -> CompressConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=settings)})


def test_a_finished_run_is_kept_where_ever_its_folder_is(finished_copy: Path) -> None:
    """A copied run folder is skipped whole, and every row of the summary is there."""
    config = load_config(finished_copy)
    before = {path: path.stat().st_mtime_ns for path in config.folder.rglob("*") if path.parent != config.folder}
    rows = run_stages(config)["rows"]
    assert [row["model"] for row in rows] == list(STAGE_NAMES)
    assert rows[0]["params"] > rows[2]["params"] == rows[3]["params"] == rows[4]["params"] == rows[5]["params"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_too_little_memory_for_the_pictures_is_said(
    small_run: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they are decoded, on a thread of the loader's."""

    def too_large(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("compress.training.loader.letterbox", too_large)
    words = "train: expected memory for a network of 64x96 pixels.*lower cache_mb.*; what was finished is kept"
    with pytest.raises(RoadslimError, match=words):
        run_stages(load_config(small_run()))


def test_a_run_that_was_given_another_name_goes_on(finished_copy: Path) -> None:
    """Its graph keeps the name that it has; only the bundle, which tells the run's name, is made anew."""
    config = load_config(finished_copy)
    renamed = config.model_copy(update={"name": "other"})
    config.folder.rename(renamed.folder)
    before = {stage: (renamed.folder / stage / "stage.json").stat().st_mtime_ns for stage in STAGE_NAMES}
    run_stages(renamed, until="distill")
    assert [row["model"] for row in run_stages(renamed)["rows"]] == list(STAGE_NAMES)
    after = {stage: (renamed.folder / stage / "stage.json").stat().st_mtime_ns for stage in STAGE_NAMES}
    assert [stage for stage in STAGE_NAMES if after[stage] != before[stage]] == ["bundle"]
    bundle = load_bundle(renamed.folder / "bundle" / "other.bundle")
    assert bundle.spec.name == "other"
    assert bundle.model_path.read_bytes() == (renamed.folder / "quantize" / "small_int.xmodel").read_bytes()


def test_the_summary_ends_where_the_run_is_out_of_date(finished_copy: Path) -> None:
    """Rows of older settings would be taken for this run's."""
    config = changed(load_config(finished_copy), "distill", teacher_boxes=0.5)
    assert [row["model"] for row in run_stages(config, until="prune")["rows"]] == ["train", "sparsify", "prune"]
    assert (config.folder / "bundle" / "stage.json").exists()


def test_a_fresh_stage_beyond_the_last_one_is_refused(finished_copy: Path) -> None:
    """Nothing would be made afresh."""
    with pytest.raises(UsageError, match="--fresh distill: expected a stage that leads to --until prune"):
        run_stages(load_config(finished_copy), until="prune", fresh="distill")


def test_a_fresh_stage_that_the_run_lacks_is_refused(finished_copy: Path) -> None:
    """With channels chosen by what they explain nothing is trained sparse."""
    document = yaml.safe_load(finished_copy.read_text())
    document["prune"] = {"importance": "reconstruction", "target_params": 9000}
    finished_copy.write_text(yaml.safe_dump(document))
    with pytest.raises(
        UsageError, match="--fresh sparsify: .* found that this run has train, prune, distill, quantize"
    ):
        run_stages(load_config(finished_copy), fresh="sparsify")


def test_a_fresh_stage_runs_again(finished_copy: Path) -> None:
    """Only that one, when its result is the same."""
    folder = load_config(finished_copy).folder
    before = {stage: (folder / stage / "stage.json").stat().st_mtime_ns for stage in STAGE_NAMES}
    run_stages(load_config(finished_copy), fresh="prune")
    after = {stage: (folder / stage / "stage.json").stat().st_mtime_ns for stage in STAGE_NAMES}
    assert [stage for stage in STAGE_NAMES if after[stage] != before[stage]] == ["prune"]


def test_a_run_of_another_version_is_made_again_stage_by_stage(finished_copy: Path) -> None:
    """As the message says: each with --fresh; the others are left as they are, and told when it is their turn."""
    config = load_config(finished_copy)
    for stage in STAGE_NAMES:
        path = config.folder / stage / "stage.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2}))
    with pytest.raises(InputError, match="train/stage.json: expected schema_version 1, found 2.*--fresh train"):
        run_stages(config)
    assert [row["model"] for row in run_stages(config, until="train", fresh="train")["rows"]] == ["train"]
    with pytest.raises(InputError, match="sparsify/stage.json.*--fresh sparsify"):
        run_stages(config)
    run_single_stage(config, "sparsify", fresh=True)
    run_stages(config, until="prune", fresh="prune")
    assert StageFolder(config.folder, "prune").results()["params"] > 0


def test_anchors_are_fitted_to_a_cfg_whose_masks_leave_one_out(small_run: Callable[[], Path], tmp_path: Path) -> None:
    """As Darknet's yolov3-tiny.cfg, which never uses its first anchor."""
    config = load_config(small_run())
    cfg = tmp_path / "leaves-one-out.cfg"
    cfg.write_text(Path(config.network.cfg).read_text().replace("mask=0,1,2", "mask=1,2,3"))
    config = changed(changed(config, "network", cfg=cfg), "train", epochs=1)
    run_stages(config, until="train")
    trained = read_cfg(config.folder / "train" / "model.cfg")
    assert trained.layers[-1].integers("mask") == (1, 2, 3)
    assert len(set(trained.layers[-1].floats("anchors"))) > 6 and trained.layers[-1].integer("num") == 6


def test_a_stage_alone_refuses_a_network_of_another_size(finished_copy: Path) -> None:
    """The config says another input size than the stage before was trained for: said, and nothing is replaced."""
    text = finished_copy.read_text().replace("input_hw: [64, 96]", "input_hw: [96, 96]")
    finished_copy.write_text(text)
    quantized = load_config(finished_copy).folder / "quantize" / "stage.json"
    before = quantized.read_text()
    with pytest.raises(InputError, match="expected a network for 96x96 pixels and 6 classes.*found one for 64x96"):
        run_single_stage(load_config(finished_copy), "quantize", fresh=True)
    assert quantized.read_text() == before


def test_a_quantized_stage_without_its_graph_is_told(small_run: Callable[[], Path]) -> None:
    """And how to make it again."""
    config = load_config(small_run())
    stage = StageFolder(config.folder, "quantize").path
    stage.mkdir(parents=True)
    document = {"schema_version": 1, "inputs": {}, "settings": {}, "results": {}, "seconds": 1.0}
    (stage / "stage.json").write_text(json.dumps(document | {"outputs": {"positions.json": "0"}}))
    words = "expected a graph, NAME_int.xmodel, .*found only positions.json. .*--fresh quantize"
    with pytest.raises(InputError, match=words):
        bundle_key(Run(config))


def test_a_bundle_follows_from_all_that_detector_json_says(finished_copy: Path) -> None:
    """The graph may be the same where the accuracy, the classes or the origin of the data are not."""
    config = load_config(finished_copy)
    key = bundle_key(Run(config))
    run = Run(config)
    run.__dict__["training_data"] = dataclasses.replace(run.training_data, origin="other roads")
    assert bundle_key(run) != key
    stage = config.folder / "quantize" / "stage.json"
    document = json.loads(stage.read_text())
    document["results"]["map50"] += 0.125
    stage.write_text(json.dumps(document))
    assert bundle_key(Run(config)) != key
