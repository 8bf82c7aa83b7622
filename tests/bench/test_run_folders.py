"""Folders of a run as MODEL."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.models import open_model
from bench.predict import networks_of
from board_app.core.atomic_file import sha256_of
from board_app.core.errors import InputError, UsageError
from roadslim import main


@pytest.fixture
def stage(run_folder: Path, tmp_path: Path) -> Path:
    """A quantise stage of the small network, as `compress` leaves it."""
    folder = tmp_path / "quantize"
    folder.mkdir()
    model = folder / "small_int.xmodel"
    shutil.copyfile(run_folder / "distill_int.xmodel", model)
    spec = json.loads((run_folder / "small.bundle" / "detector.json").read_text())
    document = {"results": {key: spec[key] for key in ("input", "heads")}, "outputs": {model.name: sha256_of(model)}}
    (folder / "stage.json").write_text(json.dumps(document))
    return folder


def test_a_quantise_stage_is_a_model(
    stage: Path, run_folder: Path, dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has the accuracy and the layers of the bundle made of it."""
    found = []
    for model in (stage, run_folder / "small.bundle"):
        assert main(["evaluate", str(model), str(dataset_folder), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["map50"] == found[1]["map50"] and found[0]["origin"] == "simulated"
    assert networks_of(stage)[0].layers == networks_of(run_folder / "small.bundle")[0].layers


def test_files_of_int8_stages_are_models(stage: Path, run_folder: Path, tmp_path: Path) -> None:
    """The .xmodel of a quantise stage or a bundle needs no cfg there; a bundle stage's folder names its bundle."""
    bundled = tmp_path / "bundle"
    shutil.copytree(run_folder / "small.bundle", bundled / "small.bundle")
    (bundled / "stage.json").write_text("{}")
    expected = open_model(run_folder / "small.bundle")
    for path in (bundled, bundled / "small.bundle" / "model.xmodel"):
        assert open_model(path).spec == expected.spec and open_model(path).record.name == "small"
    assert open_model(stage / "small_int.xmodel").spec.heads == open_model(stage).spec.heads == expected.spec.heads
    assert networks_of(bundled)[0].layers == networks_of(run_folder / "small.bundle")[0].layers


def test_a_changed_quantise_stage_is_refused(stage: Path) -> None:
    """The heads of one network with the numbers of another would give any boxes."""
    (stage / "small_int.xmodel").write_bytes(b"other")
    with pytest.raises(InputError, match="do not belong together. Run it again"):
        open_model(stage)


def test_a_run_folder_leads_to_its_best_stage(run_folder: Path) -> None:
    """The folder of a whole run is none of its models."""
    with pytest.raises(InputError, match="found neither. Name one of its stages: .*/distill"):
        open_model(run_folder)
    with pytest.raises(UsageError, match="found a folder of something else. Name one of its stages: .*/distill"):
        networks_of(run_folder)
