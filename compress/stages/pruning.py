"""The prune stage: cut the channels and blocks of least importance, in one cut or in rounds, and prove it right."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from board_app.core.atomic_file import write_text
from compress.darknet.model_files import save_model
from compress.pruning.layer_picture import draw_layers
from compress.stages.cut import cut, prune_options
from compress.stages.folder import StageKey
from compress.stages.rounds import cut_in_rounds
from compress.stages.run import Run

log = logging.getLogger(__name__)


def prune_key(run: Run) -> StageKey:
    """The network to prune, what to cut, and the data that settles, tunes and measures the result."""
    inputs = {run.uncut: run.network_hashes(run.uncut), "data": run.data_hashes}
    settings: dict[str, Any] = {"prune": run.config.prune.result_settings()}
    if run.config.prune.between:
        settings |= {"augment": run.config.augment.model_dump(mode="json"), "seed": run.config.seed}
    return StageKey(inputs, settings)


def run_prune(run: Run, folder: Path) -> dict[str, Any]:
    """Prune channels and blocks; fails when a compact network does not equal the masked one."""
    network = run.load_network(run.uncut)
    if run.config.prune.rounds > 1:
        made = cut_in_rounds(run, network, folder)
    else:
        made = cut(run, network, prune_options(run.config.prune), folder)
    report = made.report
    for note in report.notes:
        log.info("prune     note: %s", note)
    save_model(made.network, folder)
    write_text(folder / "prune.json", report.to_json() + "\n")
    draw_layers(report, folder / "figure3_pruned_layers.svg")
    return {
        "params": report.params_after,
        "gmacs": report.gmacs_after,
        "predicted_dpu_ms": report.predicted_dpu_ms_after,
        "map50_straight": made.map50_straight,
        "map50": made.map50,
        "map50_95": made.map50_95,
        "compact_vs_masked_max_abs": report.compact_vs_masked_max_abs,
    } | ({"rounds": list(report.rounds)} if report.rounds else {})
