"""The table of pruned networks, of ones small enough for a test."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from bench.pruning_comparison import BACKENDS, main, sparse_network


def test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Four networks, the targets met, times of both backends, and the same table in the files as on stdout."""
    table, data = tmp_path / "table.md", tmp_path / "table.json"
    arguments = f"x --size 64 64 --width 0.125 --threads 1 --samples 2 --warm-up 0 --markdown {table} --json {data}"
    monkeypatch.setattr(sys, "argv", arguments.split())
    main()
    assert capsys.readouterr().out == table.read_text()
    document = json.loads(data.read_text())
    whole, slimming, params, ms = document["rows"]
    assert whole["params"] > 5 * slimming["params"] and whole["gamma_kept_share"] == 1
    assert params["params"] <= slimming["params"] and ms["predicted_dpu_ms"] <= slimming["predicted_dpu_ms"]
    assert params["predicted_dpu_ms"] < slimming["predicted_dpu_ms"]
    assert slimming["blocks_removed"] == 8 and document["origin"]["predicted_dpu_ms"] == "predicted"
    for row in document["rows"]:
        assert 0 < row["gamma_kept_share"] <= 1
        assert {name: len(taken) for name, taken in row["samples_ms"].items()} == dict.fromkeys(BACKENDS, 2)
        assert f"| {row['params']:,} | {row['gmacs']:.2f} | {row['cpu_ms']['torch']:.1f} |" in table.read_text()


@pytest.mark.parametrize(("gammas", "small", "large"), [("decaying", 0.3, 0.6), ("two-level", 0.001, 0.5)])
def test_gammas_are_sparse_and_seeded(gammas: str, small: float, large: float) -> None:
    """Most are small and near 15 % large; the same seed gives the same network, another one another."""
    network = sparse_network(gammas, 1, (64, 64), 0.25)
    every = [module.weight.detach() for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert 0.7 < float((torch.cat(every) <= small).float().mean()) < 0.9
    assert 0.1 < float((torch.cat(every) > large).float().mean()) < 0.2
    again = sparse_network(gammas, 1, (64, 64), 0.25).state_dict()
    assert all(value.equal(again[name]) for name, value in network.state_dict().items())
    other = sparse_network(gammas, 2, (64, 64), 0.25).state_dict()
    assert not other["layers.0.bn.weight"].equal(again["layers.0.bn.weight"])
