"""One cut of a run: pruned, its statistics settled on training images, and measured on the validation split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from compress.config import PruneConfig
from compress.darknet.cfg import Cfg
from compress.darknet.network import DarknetNetwork
from compress.pruning import PruneOptions, PruneReport, prune, select
from compress.pruning.recalibration import training_batches, with_new_statistics
from compress.pruning.selection_file import write_selection
from compress.pruning.testing import with_scales
from compress.stages.folder import KEPT
from compress.stages.run import Run
from compress.training.evaluation import evaluate

_OF_THE_STAGE = {"recalibration_images", "rounds", "between", "floor_map50"}  # what no single cut asks for


def prune_options(config: PruneConfig) -> PruneOptions:
    """What the pruner is asked for."""
    return PruneOptions(**config.model_dump(exclude=_OF_THE_STAGE))


def check_target(cfg: Cfg, config: PruneConfig) -> None:
    """Refuse a target that no cut of a cfg reaches: that hangs on no scales, so random ones will do, and no weights.

    Raises:
        InputError: it is out of reach.
    """
    options = prune_options(config)
    if options.has_target:
        select(with_scales(cfg), replace(options, importance="gamma"))


@dataclass(frozen=True)
class Cut:
    """A cut network and its accuracy on the validation split.

    Attributes:
        map50_straight: before its BN statistics were estimated anew.
        map50, map50_95: as it is.
    """

    network: DarknetNetwork
    report: PruneReport
    map50_straight: float
    map50: float
    map50_95: float


def cut(run: Run, network: DarknetNetwork, options: PruneOptions, folder: Path) -> Cut:
    """Prune a network of the run; it is not changed itself. Which channels stayed is written to the folder.

    Raises:
        RoadslimError: the compact network does not equal the masked one.
    """
    images = run.config.prune.recalibration_images
    pictures = partial(training_batches, run.images(augmented=False), images) if images else None
    result = prune(network, options, pictures)
    folder.mkdir(parents=True, exist_ok=True)
    write_selection(result.selection, folder / KEPT)
    straight = now = _accuracy(run, result.network)
    if pictures:
        result = with_new_statistics(result, pictures())
        if result.report.recalibration_images:
            now = _accuracy(run, result.network)
    return Cut(result.network, result.report, straight[0], *now)


def _accuracy(run: Run, network: DarknetNetwork) -> tuple[float, float]:
    accuracy = evaluate(network, network.heads, run.held_out(), run.class_names)
    return accuracy.map50, accuracy.map50_95
