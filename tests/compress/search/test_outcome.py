"""What is known of a trial before it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compress.config import CompressConfig, checked
from compress.search.outcome import known_dpu_ms


@pytest.mark.parametrize(
    ("prune", "expected"),
    [
        ({}, None),
        ({"target_ms": 2.0}, 2.0),
        ({"target_ms": 2.0, "target_params": 1000}, None),
        ({"target_ms": 2.0, "target_gmacs": 1.0}, None),
    ],
)
def test_a_time_alone_is_known_before_the_cut(tmp_path: Path, prune: dict[str, Any], expected: float | None) -> None:
    """Beside another target the network may become faster; after the cut its own time counts."""
    config = checked(CompressConfig, {"name": "a", "data": "b", "runs": str(tmp_path), "prune": prune}, "a")
    assert known_dpu_ms(config) == expected
    (config.folder / "prune").mkdir(parents=True)
    (config.folder / "prune" / "prune.json").write_text(json.dumps({"predicted_dpu_ms_after": 1.5}))
    assert known_dpu_ms(config) == 1.5
