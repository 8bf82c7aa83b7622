"""What a run would take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from board_app.core.errors import RoadslimError, UsageError
from compress.config import CompressConfig, load_config
from compress.darknet.cfg import read_cfg
from compress.darknet.cost import parameter_count
from compress.estimate import RunEstimate, estimate_run
from compress.estimate.pictures import pictures_of
from compress.estimate.run_estimate import _Estimator
from compress.estimate.stage_estimate import Splits, StageEstimate
from compress.estimate.text import duration, estimate_text
from compress.stages.run import Run
from roadslim import main


def test_every_stage_is_estimated_and_nothing_is_run(
    small_run: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Time, memory, disk and origin of each, as JSON; the sum is that of the stages."""
    path = small_run()
    assert main(["compress", str(path), "--estimate", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    stages = {stage["stage"]: stage for stage in document["stages"]}
    assert list(stages) == ["train", "sparsify", "prune", "distill", "quantize", "bundle"]
    assert document["images"] | {"note": ""} == {"train": 12, "val": 4, "note": ""}
    assert document["seconds"] == pytest.approx(sum(stage["seconds"] for stage in stages.values()))
    for name in ("train", "sparsify", "distill", "quantize"):
        assert stages[name]["origin"].startswith("estimated from 2 measured steps of")
        assert stages[name]["training_s"] > 0 and stages[name]["evaluation_s"] > 0
        assert stages[name]["process_bytes"] > 1e8 and stages[name]["disk_bytes"] > 4 * stages[name]["params"]
    assert stages["distill"]["params"] == stages["prune"]["params"] < stages["train"]["params"]
    assert not load_config(path).folder.exists()


def test_the_number_of_images_is_enough(small_run: Callable[[], Path]) -> None:
    """Where the dataset is not there yet; twice the images take twice the steps."""
    config = load_config(small_run()).model_copy(update={"data": Path("nowhere")})
    with pytest.raises(UsageError, match="found none. Give the number of training images instead: --images N"):
        estimate_run(config, "train")
    with pytest.raises(UsageError, match="--images: expected 1 or more, found 0"):
        estimate_run(config, "train", images=0)
    estimate = estimate_run(config, "train", images=400)
    assert [stage.stage for stage in estimate.stages] == ["train"] and estimate.splits == Splits(400, 80)
    assert "400 images as said" in estimate.pictures
    sparsify = config.sparsify.model_copy(update={"teacher_boxes": 1.0})
    (taught,) = estimate_run(config.model_copy(update={"sparsify": sparsify}), "sparsify", images=40).stages[-1:]
    assert taught.stage == "sparsify" and taught.training_s > 0
    train = config.train.model_copy(update={"multi_scale": (64, 128)})
    (stage,) = estimate_run(config.model_copy(update={"train": train}), "train", images=40).stages
    assert stage.origin.endswith("; steps of pictures up to 128 pixels need more memory")


def test_images_without_an_estimate_is_refused(
    small_run: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """It would count nothing."""
    assert main(["compress", str(small_run()), "--images", "5"]) == 2
    assert "--images: expected --estimate with it" in capsys.readouterr().err


def test_processes_started_together_are_refused(
    small_run: Callable[[], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is measured is one process."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert main(["compress", str(small_run()), "--estimate"]) == 2
    assert "--estimate: expected one process, found 4" in capsys.readouterr().err


def test_too_little_memory_for_a_probe_is_said(small_run: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Expected, found, what to do, whichever allocation it was."""

    def too_large(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:130] DefaultCPUAllocator: can't allocate memory: 12 bytes")

    monkeypatch.setattr("compress.estimate.probe.kept_for_backward", too_large)
    with pytest.raises(RoadslimError, match="--estimate: expected memory for some small steps of train.*Make the inpu"):
        estimate_run(load_config(small_run()), "train")


def test_too_little_memory_is_said() -> None:
    """The table ends with the stages that would not fit."""
    stages = [
        StageEstimate(name, 1_000, 0.5, 3, 3600.0, 600.0, memory, 0, 8_000, "estimated from 2 measured steps")
        for name, memory in (("train", 3_000_000_000), ("distill", 1_000_000_000))
    ]
    text = estimate_text(RunEstimate(tuple(stages), Splits(10, 2), "the images of d", 2_000_000_000))
    assert "expected at most 2.00 GB of memory" in text and "found more in train. Lower batch_size" in text
    assert "70 min" in text and "all together: 2.3 h" in text


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (99, "99 s"), (3600, "60 min"), (7300, "2.0 h"), (864_000, "10.0 days")]
)
def test_durations_are_told_in_the_unit_that_suits(seconds: float, words: str) -> None:
    """Seconds to days."""
    assert duration(seconds) == words


def test_trainings_between_rounds_are_counted(small_run: Callable[[], Path]) -> None:
    """One less than there are rounds."""
    config = load_config(small_run())
    between = config.train.model_copy(update={"epochs": 2})
    prune = config.prune.model_copy(update={"rounds": 3, "between": between})
    config = config.model_copy(update={"prune": prune})
    stage = estimate_run(config, "prune").stages[-1]
    assert stage.stage == "prune" and stage.epochs == 4 and "between rounds at most" in stage.origin


def test_a_given_network_is_not_trained(small_run: Callable[[], Path], finished_small_run: Path) -> None:
    """Its stage has no estimate, and its cfg is what the later ones are estimated with."""
    config: CompressConfig = load_config(small_run())
    given = config.given.model_copy(update={"prune": (finished_small_run / "prune",)})
    estimate = estimate_run(config.model_copy(update={"given": given}), "distill")
    assert [stage.stage for stage in estimate.stages] == ["train", "distill"]
    size = json.loads((finished_small_run / "prune" / "prune.json").read_text())["params_after"]
    assert estimate.stages[-1].params == size


def test_a_named_teacher_is_the_one_that_is_measured(small_run: Callable[[], Path], finished_small_run: Path) -> None:
    """Else it is the network before the cut."""
    config = load_config(small_run())
    small = parameter_count(read_cfg(finished_small_run / "prune" / "model.cfg"))
    sizes = []
    for teacher in ("train", (finished_small_run / "prune",)):
        distill = config.distill.model_copy(update={"teacher": teacher})
        run = Run(config.model_copy(update={"distill": distill}))
        with pictures_of(run, None) as pictures:
            sizes.append(parameter_count(_Estimator(run, pictures)._teacher))
    assert sizes[0] > sizes[1] == small
