"""The spread over seeds, from stages made up here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.seed_spread import STAGES, main, table
from board_app.core.errors import InputError
from compress.stages.folder import StageFolder, StageKey


def _run(folder: Path, *map50: float) -> Path:
    for stage, value in zip(STAGES, map50, strict=False):
        made, key = StageFolder(folder, stage), StageKey({}, {})
        made.begin(key)
        made.finish(key, {"map50": value}, "0", 1.0)
    return folder


def test_a_row_a_run_then_mean_and_standard_deviation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last stage counts in int8; what was lost is between it and the trained network. Names may be equal."""
    monkeypatch.chdir(tmp_path)
    runs = [
        _run(Path("a/run"), 0.24, 0.20, 0.20, 0.23, 0.225),
        _run(Path("b/run"), 0.26, 0.22, 0.20, 0.25, 0.265),
    ]
    assert table(runs)[2:] == [
        "| a/run | 24.0 | 20.0 | 20.0 | 23.0 | 22.5 | -1.5 |",
        "| b/run | 26.0 | 22.0 | 20.0 | 25.0 | 26.5 | 0.5 |",
        "| mean | 25.0 | 21.0 | 20.0 | 24.0 | 24.5 | -0.5 |",
        "| standard deviation | 1.4 | 1.4 | 0.0 | 1.4 | 2.8 | 1.4 |",
    ]
    assert table(runs[:1])[-1].startswith("| mean | 24.0 |")


def test_an_unfinished_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the stage that is missing, in words; and what is no run at all."""
    with pytest.raises(InputError, match="expected the folder of a run, found none at"):
        table([tmp_path / "none"])
    monkeypatch.setattr(sys, "argv", ["seed_spread", str(_run(tmp_path / "begun", 0.24, 0.20))])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1 and "Run `roadslim prune` first" in capsys.readouterr().err
