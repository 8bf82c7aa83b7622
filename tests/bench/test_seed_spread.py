"""The spread over seeds, from summaries made up here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.seed_spread import main, table
from board_app.core.errors import InputError

STAGES = ("train", "sparsify", "prune", "distill")


def _run(folder: Path, *map50: float, int8: float | None = None, stages: tuple[str, ...] = STAGES) -> Path:
    rows = [
        {"model": stage, "map50_float": value, "map50_int8": None} for stage, value in zip(stages, map50, strict=False)
    ]
    if int8 is not None:
        rows += [{"model": stage, "map50_float": map50[-1], "map50_int8": int8} for stage in ("quantize", "bundle")]
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"rows": rows}))
    return folder


def test_a_row_a_run_then_mean_and_standard_deviation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last stage counts in int8; what was lost is between it and the trained network. Names may be equal."""
    monkeypatch.chdir(tmp_path)
    runs = [
        _run(Path("a/run"), 0.24, 0.20, 0.20, 0.23, int8=0.225),
        _run(Path("b/run"), 0.26, 0.22, 0.20, 0.25, int8=0.265),
    ]
    assert table(runs) == [
        "| mAP50, % | train | sparsify | prune | distill | quantize | quantize - train |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| a/run | 24.0 | 20.0 | 20.0 | 23.0 | 22.5 | -1.5 |",
        "| b/run | 26.0 | 22.0 | 20.0 | 25.0 | 26.5 | 0.5 |",
        "| mean | 25.0 | 21.0 | 20.0 | 24.0 | 24.5 | -0.5 |",
        "| standard deviation | 1.4 | 1.4 | 0.0 | 1.4 | 2.8 | 1.4 |",
    ]
    assert table(runs[:1])[-1].startswith("| mean | 24.0 |")


def test_only_runs_of_the_same_stages_stand_side_by_side(tmp_path: Path) -> None:
    """A run may do without sparse training; beside one with it a column would mean two things."""
    without = _run(tmp_path / "a", 0.24, 0.19, 0.23, int8=0.0, stages=("train", "prune", "distill"))
    assert table([without])[2].endswith("| 24.0 | 19.0 | 23.0 | 0.0 | -24.0 |")
    with pytest.raises(InputError, match="stages of .*a .train, prune, .*, found train, sparsify"):
        table([without, _run(tmp_path / "b", 0.24, 0.2, 0.2, 0.23, int8=0.2)])


def test_an_unfinished_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the stages that are there; and what is no run at all."""
    with pytest.raises(InputError, match="expected the folder of a run, found no .*summary.json"):
        table([tmp_path / "none"])
    damaged = _run(tmp_path / "damaged") / "summary.json"
    with pytest.raises(InputError, match="all stages to quantize, found none. Finish it"):
        table([damaged.parent])
    damaged.write_text("{")
    with pytest.raises(InputError, match="summary.json: expected a run's summary, found none"):
        table([damaged.parent])
    monkeypatch.setattr(sys, "argv", ["seed_spread", str(_run(tmp_path / "begun", 0.24, 0.20))])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "expected a run with all stages to quantize, found train, sparsify" in capsys.readouterr().err
