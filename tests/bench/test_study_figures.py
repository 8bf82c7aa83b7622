"""The figures of a study, from a summary made up here."""

from __future__ import annotations

from typing import Any

import pytest

from bench.study_figures import CUT, PUBLISHED_CUT, PUBLISHED_SPARSE, SPARSE, TUNED, UNPRUNED, figures
from board_app.core.errors import InputError


def _row(model: str, params: int, map50: float, ms: float, int8: float | None = None) -> dict[str, Any]:
    times = {name: {"p50": ms} for name in ("torch_cpu", "onnxruntime_cpu", "dpu")}
    return {"model": model, "params": params, "map50_float": map50, "map50_int8": int8, "latency_ms": times}


ROWS = [
    _row(UNPRUNED, 1000, 0.90, 10.0),
    _row(SPARSE, 1000, 0.80, 10.0),
    _row(CUT, 50, 0.80, 1.6),
    _row(TUNED, 50, 0.90, 1.6, 0.895),
    _row(PUBLISHED_SPARSE, 1000, 0.80, 10.0),
    _row(PUBLISHED_CUT, 100, 0.0, 3.0),
]


def test_figures_compare_the_last_network_with_the_unpruned_one() -> None:
    """Parameters, points of mAP50, what the cut left, and times."""
    said = {what: value for what, value, _ in figures(ROWS)}
    assert said["parameters"] == "1,000 to 50, 95.0 % fewer"
    assert said["mAP50, int8 against unpruned float"] == "-0.5 points"
    assert said["mAP50 kept straight after pruning"] == "80.0 to 80.0 %, 100 % of it"
    assert said["the same, the published way"] == "80.0 to 0.0 %, 0 % of it"
    assert said["ZCU104 DPU, predicted"] == "10.00 to 1.60 ms, 6.25 times faster"


def test_a_summary_of_something_else_is_refused() -> None:
    """What is missing is named."""
    with pytest.raises(InputError, match="none of sparse the published way"):
        figures(ROWS[:4])
