"""What a search found: search.json, the picture of the front, and the chosen point as a config."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import TrialState

from board_app.core.atomic_file import write_text
from compress.config import CompressConfig
from compress.search.front import Point, Rule, choose, pareto_front
from compress.search.loop import search_folder
from compress.search.picture import draw_front
from compress.search.slots import ENDED, SURPLUS, Slot, slots_of
from compress.search.space import described, with_settings

_STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped early",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "interrupted",
}


@dataclass(frozen=True)
class Choice:
    """Which point of the front is chosen: the knee or the most accurate, of those up to `max_ms`."""

    rule: Rule = "knee"
    max_ms: float | None = None


def write_report(config: CompressConfig, study: optuna.Study, choice: Choice) -> dict[str, Any]:
    """Write search.json, front.svg and chosen.yaml in the search's folder; gives the document of search.json.

    Nothing is chosen where no finished trial is as fast as the choice wants it.
    """
    from roadslim import roadslim_version

    slots = [slot for slot in slots_of(study.get_trials()) if slot.current.user_attrs.get(ENDED) != SURPLUS]
    trials = [_row(slot) for slot in slots]
    finished = [row for row in trials if row["state"] == "finished"]
    front = pareto_front([Point(row["number"], row["map50"], row["predicted_dpu_ms"]) for row in finished])
    chosen = choose(front, choice.rule, choice.max_ms)
    folder = search_folder(config)
    document: dict[str, Any] = {"schema_version": 1, "roadslim_version": roadslim_version(), "name": config.name}
    document |= {
        "evaluate": config.search.evaluate,
        "board": finished[0]["board"] if finished else None,
        "origin": "predicted",
        "trials": trials,
        "front": [point.number for point in front],
        "chosen": None,
    }
    if chosen:
        row = next(row for row in finished if row["number"] == chosen.number)
        path = folder / "chosen.yaml"
        document["chosen"] = {
            "number": chosen.number,
            "rule": choice.rule,
            "max_ms": choice.max_ms,
            "config": str(path),
        }
        _write_chosen(config, row, choice, path)
    write_text(folder / "search.json", json.dumps(document, indent=1) + "\n")
    if finished:
        draw_front(document, folder / "front.svg")
    return document


def _row(slot: Slot) -> dict[str, Any]:
    trial = slot.current
    known, stopped = trial.user_attrs, trial.user_attrs.get("stopped", {})
    complete = trial.state is TrialState.COMPLETE
    return {
        "number": slot.number,
        "state": "failed" if slot.is_void else _STATES[trial.state],
        "settings": known.get("settings", {}),
        "map50": trial.values[0] if complete else stopped.get("map50"),
        "predicted_dpu_ms": trial.values[1] if complete else stopped.get("predicted_dpu_ms"),
        "params": known.get("params"),
        "board": known.get("board"),
        "stopped_at": stopped.get("step"),
        "attempts": len(slot.attempts),
        "seconds": known.get("seconds"),
        "reason": known.get("reason"),
    }


def _write_chosen(config: CompressConfig, row: dict[str, Any], choice: Choice, path: Path) -> None:
    """The chosen trial as a config for `roadslim compress`, with all epochs."""
    limit = "" if choice.max_ms is None else f" up to {choice.max_ms:g} ms"
    shortened = f" after {100 * config.search.epochs_share:g} % of the epochs" if config.search.epochs_share < 1 else ""
    comment = (
        f"# The {choice.rule}{limit} of the search of {config.name}: trial {row['number']}, with "
        f"{described(row['settings'])}.\n"
        f"# mAP50 {100 * row['map50']:.1f} % ({config.search.evaluate}, validation split{shortened}) at "
        f"{row['predicted_dpu_ms']:.2f} ms on {row['board']}, predicted.\n"
    )
    document = with_settings(config, row["settings"], f"{config.name}-chosen", config.runs)
    write_text(path, comment + yaml.safe_dump(document, sort_keys=False))
