"""What a later stage of a run would stumble over, found before the first one works."""

from __future__ import annotations

from collections.abc import Callable, Collection

from board_app.core.errors import InputError, RoadslimError
from compress.darknet.cfg import Cfg, read_cfg
from compress.darknet.heads import heads_of
from compress.darknet.model_files import model_paths
from compress.darknet.network import DarknetNetwork
from compress.darknet.weights import load_weights
from compress.data.class_counts import check_classes
from compress.stages.cut import check_target
from compress.stages.run import Run
from compress.starting_point import starting_cfg, warn_of_a_refusal
from compress.training.teacher import head_differences

_TRAINING = {"train", "sparsify", "distill"}
_MEASURED = {*_TRAINING, "prune", "quantize"}  # by mAP on the validation split


def check_before(run: Run, stages: Collection[str]) -> None:
    """Refuse a run whose named stages cannot all end well; warn where quantize will refuse what is trained.

    Raises:
        InputError: everything that is wrong: classes that no training picture has, a validation split without boxes,
            a target that no cut of this network reaches, a teacher of other heads, weights of another cfg to go back
            to.
    """
    checks: list[Callable[[], None]] = []
    if _TRAINING.intersection(stages):
        checks.append(lambda: check_classes(run.training_data))
    if _MEASURED.intersection(stages):
        checks.append(lambda: _check_validation(run))
    if "sparsify" in stages:
        checks.append(lambda: _check_importance(run))
    if "prune" in stages and not _is_cut(run):
        checks.append(lambda: check_target(_cfg_of(run, run.uncut, "train"), run.config.prune))
    if "distill" in stages:
        checks.append(lambda: _check_teacher(run))
        if run.config.distill.rewind and "train" not in stages:  # which meets the same at once
            checks.append(lambda: _check_weights(run))
    complaints: list[str] = []
    for check in checks:
        try:
            check()
        except RoadslimError as error:
            complaints += str(error).splitlines()  # more than one check may meet the same
    if complaints:
        raise InputError("\n".join(dict.fromkeys(complaints)))
    if {"train", "quantize"}.issubset(stages):
        warn_of_a_refusal(starting_cfg(run.config.network, len(run.class_names)))


def _check_validation(run: Run) -> None:
    data = run.validation_data
    if not any(len(sample.class_id) for sample in data.samples):
        raise InputError(
            f"{data.root}: expected labelled boxes in the validation split, to measure mAP with, found none in "
            f"{len(data)} images. Label them or split anew; `roadslim data check {data.root}` shows what there is"
        )


def _is_cut(run: Run) -> bool:
    """Whether a cut as the configuration wants it was made before."""
    try:
        document = run.folder("prune").read()
    except InputError:  # told when it is its turn, or replaced
        return False
    return document is not None and document["settings"].get("prune") == run.config.prune.result_settings()


def _check_importance(run: Run) -> None:
    if run.config.prune.importance != "gamma":
        raise InputError(
            "'importance' in [prune]: expected gamma for a sparse training, whose scales tell what may go, found "
            f"{run.config.prune.importance}. Take gamma, or go on with `roadslim prune CONFIG`, which needs none"
        )


def _check_weights(run: Run) -> None:
    """What the pruned network goes back to is of its unpruned cfg."""
    weights = run.config.network.weights
    assert weights is not None  # as the config was checked for
    load_weights(DarknetNetwork(_cfg_of(run, run.uncut, "train")), weights, partial=True)


def _check_teacher(run: Run) -> None:
    teacher = run.config.distill.teacher
    if isinstance(teacher, str) or not run.config.distill.has_teacher:
        return
    cfg = _cfg_of(run, "prune", run.uncut, "train")
    differences = head_differences(heads_of(cfg), heads_of(read_cfg(run.network_files(teacher)[0])))
    if differences:
        raise InputError(
            f"'teacher' in [distill]: expected a network with this run's heads, found {'; '.join(differences)}. Name "
            "one of the same classes and anchors; with `anchors: cfg` in [network] a run keeps those of its cfg"
        )


def _cfg_of(run: Run, *stages: str) -> Cfg:
    """The cfg of the first of these stages that is given or finished, or else of the run's start."""
    for stage in stages:
        files, folder = run.named_files(stage), run.folder(stage).path
        if files or (folder / "stage.json").exists():
            return read_cfg((files or model_paths(folder))[0])
    return starting_cfg(run.config.network, len(run.class_names))
