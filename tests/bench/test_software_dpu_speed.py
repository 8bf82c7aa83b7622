"""The side-by-side timing of the software DPU, on networks small enough for a test."""

from __future__ import annotations

import json
import sys

import pytest

from bench.software_dpu_speed import main


def test_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The unpruned and the pruned network each have a row with both times, their ratio, and what loading took."""
    monkeypatch.setattr(
        sys, "argv", "speed --size 64 64 --width 0.125 --threads 1 --samples 2 --warm-up 0 --json".split()
    )
    main()
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["network"] for row in rows] == ["unpruned", "pruned"]
    assert rows[1]["params"] < rows[0]["params"] / 5
    for row in rows:
        assert row["ratio"] == pytest.approx(row["software_dpu_ms"] / row["onnxruntime_ms"])
        assert {name: len(taken) for name, taken in row["samples_ms"].items()} == {
            "software_dpu": 2,
            "onnxruntime": 2,
        }
        assert row["load_and_lower_s"] > 0 and row["peak_rss_mb"] > 0
