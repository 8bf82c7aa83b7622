"""Folders of a run as MODEL: what a quantise stage says of its .xmodel, and advice where a folder is no stage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_app.core.atomic_file import sha256_of
from board_app.core.errors import InputError

_BEST_FIRST = ("distill", "prune", "sparsify", "train")


@dataclass(frozen=True)
class QuantizeStage:
    """A finished quantise stage: its .xmodel, and `results` of its stage.json with `input` and `heads`."""

    xmodel: Path
    results: dict[str, Any]


def quantize_stage(folder: Path) -> QuantizeStage | None:
    """The quantise stage in a folder, None where there is none.

    Raises:
        InputError: its stage.json is damaged, or the .xmodel is not the one that it tells of.
    """
    found = sorted(folder.glob("*_int.xmodel")) if (folder / "stage.json").is_file() else []
    if len(found) != 1:
        return None
    try:
        document = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
        results, known = document["results"], document["outputs"][found[0].name]
        complete = {"input", "heads"} <= results.keys()
    except (ValueError, KeyError, TypeError, AttributeError):
        complete = False
    if not complete or sha256_of(found[0]) != known:
        raise InputError(
            f"{folder}: expected a finished quantise stage, found a stage.json and a {found[0].name} that do not "
            "belong together. Run it again: roadslim quantize CONFIG --fresh"
        )
    return QuantizeStage(found[0], results)


def advice_for(folder: Path) -> str:
    """Which folder to name instead of one that is no stage."""
    for stage in _BEST_FIRST:
        if (folder / stage / "model.cfg").is_file():
            return f"Name one of its stages: {folder / stage}"
    return "Name a stage folder of a run, such as runs/demo/distill"
