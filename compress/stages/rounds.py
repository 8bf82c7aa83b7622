"""Pruning in rounds: cut a part of the way, tune a little, cut on, and stop above an mAP floor.

A round that is done is kept in its folder, so that a killed run goes on from there. Sources: Molchanov et al.,
arXiv:1611.06440 (a cut and a short tuning in turn); Yang et al., NetAdapt, arXiv:1804.03230 (towards a cost, with a
network a round).
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from board_app.core.atomic_file import write_text
from board_app.core.errors import InputError
from compress.config import TrainingConfig
from compress.darknet.cfg import Cfg
from compress.darknet.model_files import load_folder, save_model
from compress.darknet.network import DarknetNetwork
from compress.pruning import PruneOptions, PruneReport
from compress.stages.cut import Cut, cut, prune_options
from compress.stages.folder import ROUNDS
from compress.stages.run import Run
from compress.stages.training import training_of
from compress.training.batch import StepHook

log = logging.getLogger(__name__)
_DONE = "accuracy.json"  # is written last


def cut_in_rounds(run: Run, network: DarknetNetwork, folder: Path) -> Cut:
    """The last round's cut, its report that of all rounds together; or the last one above the floor, as tuned.

    Raises:
        InputError: the first round already falls below the floor.
    """
    config = run.config.prune
    goal, whole = prune_options(config), network.cfg
    kept: Cut | None = None
    rows: list[dict[str, Any]] = []
    for number in range(1, config.rounds + 1):
        place = folder / ROUNDS / str(number)
        made = _cut_once(run, network, _step(goal, whole, number, config.rounds), place)
        report = made.report if kept is None else kept.report.followed_by(made.report)
        above = config.floor_map50 is None or made.map50 >= config.floor_map50
        rows.append(_row(number, made, above))
        if not above:
            break
        if config.between and number < config.rounds:
            made = _tuned(run, made, config.between, place / "tuned")
            rows[-1]["map50_tuned"] = made.map50
        kept = replace(made, report=report)
        network = made.network
        log.info("prune round %d of %d: %s", number, config.rounds, _line(rows[-1]))
    if kept is None:
        raise InputError(
            f"prune: expected a first round above floor_map50 {config.floor_map50}, found mAP50 {rows[0]['map50']:.4f} "
            f"after it. Lower the floor, cut less, or take more than {config.rounds} rounds"
        )
    if not rows[-1]["kept"]:
        log.warning(
            "prune: round %d fell below floor_map50 %.4f (%s), so the network of round %d is kept",
            len(rows),
            config.floor_map50,
            _line(rows[-1]),
            len(rows) - 1,
        )
    return replace(kept, report=replace(kept.report, rounds=tuple(rows)))


def _step(goal: PruneOptions, whole: Cfg, number: int, rounds: int) -> PruneOptions:
    """What a round cuts from the network of the round before, so that all rounds together come to the goal."""
    before, now = (goal.towards(done / rounds, whole) for done in (number - 1, number))
    share = 1 - (1 - now.channels) / (1 - before.channels)
    if now.blocks == "auto" or before.blocks == "auto":
        return replace(now, channels=share)
    return replace(now, channels=share, blocks=now.blocks - before.blocks)


def _cut_once(run: Run, network: DarknetNetwork, options: PruneOptions, place: Path) -> Cut:
    """A round's cut; read from its folder where it was done before."""
    if not (place / _DONE).exists():
        made = cut(run, network, options, place)
        save_model(made.network, place)
        write_text(place / "prune.json", made.report.to_json() + "\n")
        _write_accuracy(place, map50_straight=made.map50_straight, map50=made.map50, map50_95=made.map50_95)
    report = PruneReport.from_json((place / "prune.json").read_text(encoding="utf-8"))
    return Cut(load_folder(place), report, **_accuracy(place))


def _tuned(run: Run, made: Cut, config: TrainingConfig, place: Path) -> Cut:
    """The cut network after a training; gone on with, or read from its folder, where there was one before."""
    if not (place / _DONE).exists():
        place.mkdir(exist_ok=True)
        training = training_of(run, made.network, run.images(augmented=True), config, place, StepHook())
        averaged, _ = training.run()
        save_model(averaged, place)
        result = training.result_metrics
        _write_accuracy(place, map50=result["map50"], map50_95=result["map50_95"])
    accuracy = _accuracy(place)
    return replace(made, network=load_folder(place), map50=accuracy["map50"], map50_95=accuracy["map50_95"])


def _write_accuracy(place: Path, **accuracy: float) -> None:
    write_text(place / _DONE, json.dumps(accuracy) + "\n")


def _accuracy(place: Path) -> dict[str, float]:
    return dict(json.loads((place / _DONE).read_text(encoding="utf-8")))


def _row(number: int, made: Cut, above: bool) -> dict[str, Any]:
    return {
        "round": number,
        "params": made.report.params_after,
        "gmacs": made.report.gmacs_after,
        "predicted_dpu_ms": made.report.predicted_dpu_ms_after,
        "map50_straight": made.map50_straight,
        "map50": made.map50,
        "map50_tuned": None,
        "kept": above,
    }


def _line(row: dict[str, Any]) -> str:
    tuned = "" if row["map50_tuned"] is None else f", tuned {100 * row['map50_tuned']:.1f} %"
    return (
        f"{row['params']:,} parameters, {row['predicted_dpu_ms']:.2f} ms predicted, mAP50 {100 * row['map50']:.1f} %"
        f"{tuned}"
    )
