"""The spread over seeds, from summaries made up here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.seed_spread import STAGES, table
from board_app.core.errors import InputError


def _run(folder: Path, floats: tuple[float, ...], int8: float) -> Path:
    rows = [
        {"model": stage, "map50_float": map50, "map50_int8": int8 if stage == "quantize" else None}
        for stage, map50 in zip(STAGES, (*floats, floats[-1]), strict=False)
    ]
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"rows": rows}))
    return folder


def test_a_row_a_run_then_mean_and_standard_deviation(tmp_path: Path) -> None:
    """The last stage counts in int8; what was lost is between it and the trained network."""
    runs = [
        _run(tmp_path / "a", (0.24, 0.20, 0.20, 0.23), 0.225),
        _run(tmp_path / "b", (0.26, 0.22, 0.20, 0.25), 0.265),
    ]
    assert table(runs)[2:] == [
        "| a | 24.0 | 20.0 | 20.0 | 23.0 | 22.5 | -1.5 |",
        "| b | 26.0 | 22.0 | 20.0 | 25.0 | 26.5 | 0.5 |",
        "| mean | 25.0 | 21.0 | 20.0 | 24.0 | 24.5 | -0.5 |",
        "| standard deviation | 1.4 | 1.4 | 0.0 | 1.4 | 2.8 | 1.4 |",
    ]
    assert table(runs[:1])[-1].startswith("| mean | 24.0 |")


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    """No folder of a run, and one that has not come so far."""
    with pytest.raises(InputError, match="found no summary.json in it"):
        table([tmp_path])
    run = _run(tmp_path / "begun", (0.24, 0.20), 0.2)
    with pytest.raises(InputError, match="found none of distill, quantize. Finish the run"):
        table([run])
