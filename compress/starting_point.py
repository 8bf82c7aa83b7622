"""What a run starts from, checked before its first stage."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from board_app.core.errors import InputError, UsageError
from compress.config import CompressConfig, NetworkConfig
from compress.darknet.cfg import Cfg, read_cfg
from compress.darknet.dpu_hindrances import warn_of_hindrances
from compress.darknet.heads import check_trainable, heads_of
from compress.darknet.topologies import with_classes, with_width, yolov3_cfg, yolov3_tiny_cfg
from compress.pruning.blocks import removable_blocks
from compress.quantization.plan import plan_of

log = logging.getLogger(__name__)

TOPOLOGIES = {"yolov3": yolov3_cfg, "yolov3-tiny": yolov3_tiny_cfg}


def starting_cfg(config: NetworkConfig, classes: int) -> Cfg:
    """The cfg that a training starts from, with the anchors as they are in it."""
    if config.cfg is None:
        return TOPOLOGIES[config.topology](classes, config.input_hw, config.width, config.leaky_slope)
    cfg = with_width(with_classes(read_cfg(config.cfg), classes), config.width).with_input_hw(config.input_hw)
    return replace(cfg, net=cfg.net.with_options(leaky_slope=repr(config.leaky_slope)))


def check_starting_point(config: CompressConfig) -> None:
    """Refuse what could not end well, although every key has a good value; warn of what the DPU lacks.

    Raises:
        InputError: the cfg is wrong, or of heads that cannot be trained.
        UsageError: the cfg or the weights are not there; more blocks are to be cut than the network has; the pruned
            network shall go back to weights and cannot; a preference has nothing to choose from.
    """
    network, complaints = config.network, complaints_of(config)
    if complaints:
        raise UsageError("\n".join(complaints))
    cfg = starting_cfg(network, classes=1)
    check_trainable(cfg)
    warn_of_hindrances(cfg)
    blocks = len(removable_blocks(cfg))
    if config.prune.blocks != "auto" and config.prune.blocks > blocks:
        raise UsageError(
            f"'blocks' in [prune]: expected at most {blocks}, as many as {network.cfg or network.topology} has, "
            f"found {config.prune.blocks}. Lower it: at most `blocks: {blocks}`"
        )


def complaints_of(config: CompressConfig) -> list[str]:
    """A line for everything that is not there, or that keys ask for and cannot have together."""
    network, complaints = config.network, []
    for key, path in (("cfg", network.cfg), ("weights", network.weights)):
        if path is not None and not path.is_file():
            found = "a folder" if path.is_dir() else "none"
            complaints.append(f"'{key}' in [network]: expected a file at {path}, found {found}. Correct the path")
    for stage, files in config.given:
        complaints += _missing_files(f"'{stage}' in [given]", files)
    if not isinstance(config.distill.teacher, str):
        complaints += _missing_files("'teacher' in [distill]", config.distill.teacher)
    if config.distill.rewind:
        complaints += _no_way_back(config)
    prune, search = config.prune, config.search
    sized = prune.target_params or prune.target_gmacs or search.target_params
    if prune.importance == "reconstruction" and not (sized or prune.target_ms or search.target_ms):
        complaints.append(
            "'importance' in [prune]: expected a target beside reconstruction, found none. Give target_params, "
            "target_gmacs or target_ms, or take `importance: gamma`"
        )
    if prune.importance == "reconstruction" and config.distill.teacher == "sparsify" and not config.given.sparsify:
        complaints.append(
            "'teacher' in [distill]: expected train or a network, as nothing is trained sparse with 'importance: "
            "reconstruction' in [prune], found sparsify. Take `teacher: train`"
        )
    if prune.prefer == "accuracy" and not sized:
        complaints.append(
            "'prefer' in [prune]: expected target_params or target_gmacs beside accuracy, found neither: without one "
            "all cuts are chosen alike. Give one, or leave 'prefer' out"
        )
    return complaints


def warn_of_a_refusal(cfg: Cfg) -> None:
    """Log that training leads to no int8 network where it does not."""
    try:
        plan_of(cfg, tuple(head.layer for head in heads_of(cfg)))
    except InputError:
        log.warning(
            "%s: it can be trained and pruned, but the stages quantize and bundle will refuse it. Change the cfg now, "
            "or end before them with `--until distill`",
            cfg.name,
        )


def _no_way_back(config: CompressConfig) -> list[str]:
    """A complaint for each reason why the pruned network cannot have the starting weights."""
    cases = (
        ("weights in [network] to go back to", config.network.weights is None, "none", "Name them"),
        ("one cut", config.prune.rounds > 1, f"{config.prune.rounds} rounds in [prune]", "Take one"),
        (
            "a cut by this run, which knows the channels",
            config.given.prune is not None,
            "a pruned network that is given",
            "Give the network that was cut, as 'sparsify' or 'train' in [given]",
        ),
    )
    return [
        f"'rewind' in [distill]: expected {expected}, found {found}. {remedy}, or leave 'rewind' out"
        for expected, wrong, found, remedy in cases
        if wrong
    ]


def _missing_files(key: str, named: tuple[Path, ...] | None) -> list[str]:
    """A complaint for each path that is not what the key needs."""
    if named is None:
        return []
    if len(named) == 1:
        here = (named[0] / "model.cfg").is_file()
        return [] if here else [f"{key}: expected a stage folder at {named[0]}, found no model.cfg in it. Correct it"]
    return [f"{key}: expected a file at {path}, found none. Correct the path" for path in named if not path.is_file()]
