"""What is found before the first stage works."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from board_app.core.errors import InputError, RoadslimError
from compress.config import CompressConfig, load_config
from compress.stages import STAGE_NAMES, run_stages
from compress.stages.folder import exclusive
from compress.stages.preflight import check_before
from compress.stages.run import Run


def changed(config: CompressConfig, section: str, **settings: object) -> CompressConfig:
    """The configuration with other settings in a section."""
    return config.model_copy(update={section: getattr(config, section).model_copy(update=settings)})


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_begun(
    small_run: Callable[[], Path], small_data: Path, finished_small_run: Path
) -> None:
    """A class without a box, a target below the smallest widths, a teacher with other anchors."""
    config = load_config(small_run())
    config = changed(config, "prune", target_params=10, blocks="auto")
    config = changed(config, "distill", teacher=(finished_small_run / "train",))
    run = Run(config)
    training = run.training_data
    samples = [sample for sample in training.samples if not (sample.class_id == 0).any()]
    run.__dict__["training_data"] = type(training)(training.name, training.root, training.classes, tuple(samples))
    with pytest.raises(InputError) as error:
        check_before(run, STAGE_NAMES)
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"class {training.classes[0]}: expected boxes")
    assert "expected to reach 10 parameters, found" in lines[1]
    assert lines[2].startswith("'teacher' in [distill]: expected a network with this run's heads, found anchors")


def test_a_run_that_cannot_end_well_does_no_work(small_run: Callable[[], Path]) -> None:
    """Not even the run's folder is made."""
    config = changed(load_config(small_run()), "prune", target_gmacs=1e-9, blocks="auto")
    with pytest.raises(InputError, match="expected to reach 1e-09 GMACs"):
        run_stages(config)
    assert not config.folder.exists()


def test_a_run_that_another_process_has_is_told_before_anything_is_read(small_run: Callable[[], Path]) -> None:
    """What is in the folder is that process's, and the data may be large."""
    config = load_config(small_run()).model_copy(update={"ignore_classes": ("Nope",)})
    with exclusive(config.folder), pytest.raises(RoadslimError, match="to be free, found another process"):
        run_stages(config)


def test_what_several_checks_meet_is_told_once(small_run: Callable[[], Path]) -> None:
    """Every one of them that reads the data, say."""
    config = changed(load_config(small_run()), "prune", target_params=10, blocks="auto")
    with pytest.raises(InputError) as error:
        check_before(Run(config.model_copy(update={"ignore_classes": ("Nope",)})), STAGE_NAMES)
    assert str(error.value).count("cannot map or ignore 'Nope'") == 1


@pytest.mark.parametrize(
    ("stages", "warnings"), [(("train",), 0), (STAGE_NAMES[:4], 0), (("quantize",), 0), (STAGE_NAMES, 1)]
)
def test_a_training_that_quantize_will_refuse_is_told(
    stages: tuple[str, ...],
    warnings: int,
    small_run: Callable[[], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where it is to be quantised, and there is something to train first."""
    config = load_config(small_run())
    assert config.network.cfg is not None
    mish = tmp_path / "mish.cfg"
    mish.write_text(config.network.cfg.read_text().replace("activation=leaky", "activation=mish", 1))
    check_before(Run(changed(config, "network", cfg=mish)), stages)
    told = [message for message in caplog.messages if "end before them with `--until distill`" in message]
    assert len(told) == warnings


@pytest.mark.parametrize("stage", ["train", "sparsify", "prune", "distill", "quantize"])
def test_an_accuracy_that_nothing_is_labelled_for_is_refused(stage: str, finished_copy: Path) -> None:
    """A validation split without boxes would give 0 % as if it were measured."""
    run = Run(load_config(finished_copy))
    bare = [
        dataclasses.replace(s, boxes_xyxy=s.boxes_xyxy[:0], class_id=s.class_id[:0]) for s in run.held_out().samples
    ]
    run.__dict__["validation_data"] = dataclasses.replace(run.validation_data, samples=tuple(bare))
    with pytest.raises(
        InputError, match="expected labelled boxes in the validation split.*found none in 4 images. Lab"
    ):
        check_before(run, [stage])
    check_before(run, ["bundle"])


def test_a_cut_is_looked_at_until_it_was_made_so(finished_copy: Path) -> None:
    """A finished one with other settings will be made again, so its target is tried; what was cut as wanted is cut."""
    config = changed(load_config(finished_copy), "prune", target_params=10, blocks="auto")
    with pytest.raises(InputError, match="expected to reach 10 parameters"):
        check_before(Run(config), STAGE_NAMES)
    path = config.folder / "prune" / "stage.json"
    document = json.loads(path.read_text())
    document["settings"]["prune"] = config.prune.result_settings()
    path.write_text(json.dumps(document))
    check_before(Run(config), STAGE_NAMES)
