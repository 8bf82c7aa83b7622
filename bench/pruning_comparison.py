"""What a pruned YOLOv3 gains: the published way (network slimming), and Roadslim's at equal parameters and equal time.

    python -m bench.pruning_comparison --markdown table.md --json table.json

A row each for the unpruned network; for `slimming`, 85 % of the channels by one threshold and 8 blocks; and for `cost`
with the parameters, and with the predicted time, that slimming came to. CPU times are medians of torch and ONNX
Runtime, all networks in one process, in alternating blocks after some seconds of warm-up, batch 1, batch normalisation
folded for both. DPU times are predicted by the latency model, not measured.

The gammas are synthetic and independent of each other, so that convolutions tied by a shortcut do not agree on their
weak channels. `decaying`: u^4 with u uniform from 0 to 1, many small and few large ones, as an L1 penalty leaves them.
`two-level`: 15 % of the channels have gammas from 0.5 to 1.5, the others below 0.001, as where a training came to
zeros. Weights are random, batch normalisation is settled on a synthetic scene: speed does not depend on what the
weights have learnt.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.backends.base import Backend
from bench.backends.onnx_cpu import OnnxCpu
from bench.backends.torch_float import TorchCpu
from bench.environment import read_environment, usable_cores
from bench.latency import Runs, interleaved, warm_up
from bench.models import open_model
from bench.progress import progress_bar
from bench.statistics import doubts
from board_app.core.atomic_file import write_text
from board_app.core.road_scenes import render_scene
from compress.darknet.model_files import save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.topologies import yolov3_cfg
from compress.pruning import PruneOptions, PruneReport, prune
from compress.pruning.recalibration import recalibrate

CLASSES = 6
LIVING_SHARE = 0.15  # of two-level gammas: what slimming is to keep
BACKENDS: dict[str, Backend] = {"torch": TorchCpu(), "onnxruntime": OnnxCpu()}


@dataclass(frozen=True)
class Row:
    """One network. `gamma_kept_share`: of all |gamma| what is left; removed blocks' first layers do not count."""

    network: str
    params: int
    gmacs: float
    predicted_dpu_ms: float
    gamma_kept_share: float
    blocks_removed: int
    cpu_ms: dict[str, float] = field(default_factory=dict)
    samples_ms: dict[str, list[float]] = field(default_factory=dict)
    doubts: dict[str, list[str]] = field(default_factory=dict)


def main() -> None:
    """Prune, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="input (608 608; quick: 256 256)")
    parser.add_argument("--width", type=float, metavar="X", help="of YOLOv3's layers (1; quick: 0.25)")
    parser.add_argument("--samples", type=int, metavar="N", help="a median is of so many (24; quick: 8)")
    parser.add_argument("--warm-up", type=float, metavar="S", help="seconds before the first sample (8; quick: 1)")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N", help="(all cores: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of gammas and weights (%(default)s)")
    parser.add_argument("--gammas", choices=("decaying", "two-level"), default="decaying", help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a narrower network, a smaller input, fewer samples")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the table goes here, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything, samples and machine included")
    args = parser.parse_args()
    usual: dict[str, Any] = {"size": (608, 608), "width": 1.0, "samples": 24, "warm_up": 8.0}
    quick: dict[str, Any] = {"size": (256, 256), "width": 0.25, "samples": 8, "warm_up": 1.0}
    for name, value in (quick if args.quick else usual).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    environment = read_environment()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(prefix="roadslim-") as folder:
        rows = pruned_networks(sparse_network(args.gammas, args.seed, tuple(args.size), args.width), Path(folder))
        rows = timed(rows, Path(folder), args.threads, args.samples, args.warm_up)
    text = markdown(rows)
    print(text)
    if args.markdown:
        write_text(args.markdown, text + "\n")
    if args.json:
        settings = {
            name: getattr(args, name) for name in ("size", "width", "threads", "samples", "warm_up", "gammas", "seed")
        }
        document = {
            "schema_version": 1,
            "settings": settings,
            "origin": {"cpu_ms": "measured", "predicted_dpu_ms": "predicted"},
            "environment": environment.model_dump(mode="json"),
            "rows": [asdict(row) for row in rows],
        }
        write_text(args.json, json.dumps(document, indent=1) + "\n")


def sparse_network(gammas: str, seed: int, size_hw: tuple[int, int], width: float) -> DarknetNetwork:
    """YOLOv3 with random weights and the gammas that the module tells of, in evaluation mode."""
    torch.manual_seed(seed)
    network = DarknetNetwork(yolov3_cfg(CLASSES, size_hw, width))
    image_bgr = render_scene(seed, size_hw).image_bgr
    picture = torch.from_numpy(image_bgr[:, :, ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    recalibrate(network, [picture])
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.copy_(GAMMAS[gammas](module.num_features))
    return network


def _decaying(channels: int) -> Tensor:
    return torch.rand(channels) ** 4


def _two_level(channels: int) -> Tensor:
    living = torch.rand(channels) < LIVING_SHARE
    return torch.where(living, 0.5 + torch.rand(channels), 1e-3 * torch.rand(channels))


GAMMAS = {"decaying": _decaying, "two-level": _two_level}


def pruned_networks(network: DarknetNetwork, folder: Path) -> list[Row]:
    """The rows without times; writes NAME/model.cfg and .weights of each network."""
    slimming = prune(network, PruneOptions(method="slimming", channels=0.85, blocks=8))
    goal = slimming.report
    results = {
        "slimming, 85 % and 8 blocks": slimming,
        "cost, equal parameters": prune(network, PruneOptions(target_params=goal.params_after)),
        "cost, equal predicted time": prune(network, PruneOptions(target_ms=goal.predicted_dpu_ms_after)),
    }
    rows = [Row("unpruned", goal.params_before, goal.gmacs_before, goal.predicted_dpu_ms_before, 1.0, 0)]
    save_model(network, folder / rows[0].network)
    for name, result in results.items():
        save_model(result.network, folder / name)
        rows.append(_row(name, result.report))
    return rows


def timed(rows: list[Row], folder: Path, threads: int, samples: int, warm_up_s: float) -> list[Row]:
    """The rows with the times of their networks in `folder`."""
    sessions: dict[tuple[str, str], Runs] = {}
    for row in rows:
        model = open_model(None, folder / row.network / "model.cfg", folder / row.network / "model.weights")
        for name, backend in BACKENDS.items():
            sessions[row.network, name] = backend.open(model, threads)
    named = {" on ".join(key): session for key, session in sessions.items()}
    warm_up(named, warm_up_s)
    with progress_bar(f"{len(named)} sessions", samples) as progress:
        taken = interleaved(named, samples, progress=progress)
    by_row: dict[str, dict[str, list[float]]] = {row.network: {} for row in rows}
    for (network, on), found in zip(sessions, taken.values(), strict=True):
        by_row[network][on] = found
    return [_with_times(row, by_row[row.network]) for row in rows]


def markdown(rows: list[Row]) -> str:
    """The table, its times as factors beside the unpruned network and beside slimming."""
    whole, slimming = rows[0], rows[1]
    heads = ["network", "parameters", "GMACs", *(f"{name} ms" for name in BACKENDS), "ZCU104 ms, predicted"]
    heads += ["kept of Σ\\|gamma\\|", "blocks cut", "faster than unpruned", "faster than slimming"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for row in rows:
        cells = [row.network, f"{row.params:,}", f"{row.gmacs:.2f}"]
        cells += [f"{row.cpu_ms[name]:.1f}" for name in BACKENDS]
        cells += [f"{row.predicted_dpu_ms:.2f}", f"{100 * row.gamma_kept_share:.1f} %", str(row.blocks_removed)]
        cells += [_factors(whole, row), _factors(slimming, row)]
        lines.append("| " + " | ".join(cells) + " |")
    backends = ", ".join(BACKENDS)
    notes = [f"Factors: {backends}, ZCU104 predicted. CPU ms are medians, measured in one run, batch 1, BN folded."]
    notes += [f"{row.network}, {name}: {text}" for row in rows for name, texts in row.doubts.items() for text in texts]
    return "\n".join([*lines, "", *notes])


def _factors(slower: Row, row: Row) -> str:
    times = [slower.cpu_ms[name] / row.cpu_ms[name] for name in BACKENDS]
    return ", ".join(f"{factor:.2f}" for factor in [*times, slower.predicted_dpu_ms / row.predicted_dpu_ms])


def _row(name: str, report: PruneReport) -> Row:
    kept = 1 - report.gamma_removed_share
    return Row(
        name, report.params_after, report.gmacs_after, report.predicted_dpu_ms_after, kept, report.blocks_removed
    )


def _with_times(row: Row, samples_ms: Mapping[str, list[float]]) -> Row:
    values = asdict(row)
    values["samples_ms"] = dict(samples_ms)
    values["cpu_ms"] = {name: statistics.median(found) for name, found in samples_ms.items()}
    steady = {name: [text for text in doubts(found) if "too few" not in text] for name, found in samples_ms.items()}
    values["doubts"] = {name: texts for name, texts in steady.items() if texts}
    return Row(**values)


if __name__ == "__main__":
    main()
