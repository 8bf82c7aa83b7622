"""What a search leaves: search.json, the picture and the chosen config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from compress.config import CompressConfig, load_config
from compress.search.loop import search
from compress.search.outcome import OnEpoch, Outcome
from compress.search.report import Choice, write_report
from compress.search.testing import PULSE, stand_in, stand_in_config


def fussy(config: CompressConfig, evaluate: str, on_epoch: OnEpoch) -> Outcome:
    """Runs nothing below 1.2 ms."""
    from board_app.core.errors import RoadslimError

    if (config.prune.target_ms or 5) < 1.2:
        raise RoadslimError("expected a longer time, found a shorter one. Raise it")
    return stand_in(config, evaluate, on_epoch)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[CompressConfig, Any]:
    """A search with finished, stopped and failed trials: its config and study."""
    config = stand_in_config(tmp_path_factory.mktemp("runs"), stop_early=1, epochs_share="50%")
    return config, search(config, 16, str(config.runs / "journal.log"), {}, fussy, pulse=PULSE)


def test_search_json_tells_every_trial(searched: tuple[CompressConfig, Any]) -> None:
    """With its settings and results, its state, and where times come from; the front by rising time and mAP50."""
    config, study = searched
    document = write_report(config, study, Choice())
    folder = config.folder / "search"
    assert json.loads((folder / "search.json").read_text()) == document
    assert (document["schema_version"], document["origin"], document["board"]) == (1, "predicted", "zcu104")
    rows = {row["number"]: row for row in document["trials"]}
    states = [row["state"] for row in rows.values()]
    assert states.count("finished") + states.count("stopped early") == 16
    assert {"finished", "stopped early", "failed"} == set(states)
    for row in rows.values():
        assert set(row["settings"]) == {"target_ms", "blocks"}
        if row["state"] == "failed":
            assert row["map50"] is None and row["reason"].startswith("expected a longer time")
        elif row["state"] == "finished":
            assert row["predicted_dpu_ms"] == row["settings"]["target_ms"] and row["params"] > 0
        else:
            assert row["stopped_at"].startswith("distill ") and 0 < row["map50"] < 1
    front = [rows[number] for number in document["front"]]
    assert (
        front == sorted(front, key=lambda row: row["predicted_dpu_ms"]) == sorted(front, key=lambda row: row["map50"])
    )


@pytest.mark.parametrize(
    ("choice", "limit"), [(Choice(), 9.0), (Choice("max-map"), 9.0), (Choice("max-map", 2.5), 2.5)]
)
def test_the_chosen_point_is_a_config_of_its_own(
    choice: Choice, limit: float, searched: tuple[CompressConfig, Any]
) -> None:
    """With all the epochs, beside the search's own run, and a comment that tells what it is."""
    config, study = searched
    document = write_report(config, study, choice)
    row = next(row for row in document["trials"] if row["number"] == document["chosen"]["number"])
    path = Path(document["chosen"]["config"])
    chosen = load_config(path)
    assert chosen.prune.target_ms == row["settings"]["target_ms"] <= limit
    assert (chosen.folder, chosen.distill.epochs) == (config.runs / "stand-in-chosen", config.distill.epochs)
    comment = path.read_text()
    assert f"trial {row['number']}" in comment and "after 50 % of the epochs" in comment and "predicted" in comment
    if choice.rule == "max-map":
        fast = [other for other in document["trials"] if other["state"] == "finished"]
        assert row["map50"] == max(other["map50"] for other in fast if other["predicted_dpu_ms"] <= limit)


def test_nothing_is_as_fast(searched: tuple[CompressConfig, Any]) -> None:
    """Then nothing is chosen, and all else is there."""
    config, study = searched
    document = write_report(config, study, Choice(max_ms=0.5))
    assert document["chosen"] is None and document["front"]


def test_the_picture_says_that_times_are_predicted(searched: tuple[CompressConfig, Any]) -> None:
    """And marks what was stopped, the front and the chosen point."""
    config, study = searched
    document = write_report(config, study, Choice())
    text = (config.folder / "search" / "front.svg").read_text()
    ElementTree.fromstring(text)
    for words in (
        "predicted DPU time on one core of zcu104 (ms)",
        "mAP50 int8 on the validation split (%)",
        "stopped early (",
        f"front ({len(document['front'])})",
        f"chosen: trial {document['chosen']['number']},",
    ):
        assert f"<!-- {words}" in text
