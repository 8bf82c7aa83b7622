"""The prune stage: cut what the sparse training drove to zero, and prove that the cut is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from board_app.core.atomic_file import write_text
from compress.config import PruneConfig
from compress.darknet.model_files import save_model
from compress.pruning import PruneOptions, prune
from compress.stages import figures
from compress.stages.folder import StageKey
from compress.stages.run import Run
from compress.training.evaluation import evaluate


def prune_options(config: PruneConfig) -> PruneOptions:
    """What the pruner is asked for."""
    return PruneOptions(**config.model_dump())


def prune_key(run: Run) -> StageKey:
    """The sparse network and what to cut; the data only measures the result."""
    inputs = {"sparsify": run.network_hashes("sparsify"), "data": run.data_hashes["val"]}
    return StageKey(inputs, {"prune": run.config.prune.model_dump(mode="json")})


def run_prune(run: Run, folder: Path) -> dict[str, Any]:
    """Prune channels and blocks; fails when the compact network does not equal the masked one."""
    result = prune(run.load_network("sparsify"), prune_options(run.config.prune))
    save_model(result.network, folder)
    write_text(folder / "prune.json", result.report.to_json() + "\n")
    figures.draw_pruned_layers(result.report.layers, folder / "figure3_pruned_layers.svg")
    accuracy = evaluate(result.network, result.network.heads, run.held_out(), run.class_names)
    report = result.report
    return {
        "params": report.params_after,
        "gmacs": report.gmacs_after,
        "map50": accuracy.map50,
        "map50_95": accuracy.map50_95,
        "compact_vs_masked_max_abs": report.compact_vs_masked_max_abs,
    }
