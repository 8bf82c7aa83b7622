"""`roadslim prune`: as a stage of a run, or from a cfg and weights alone."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from board_app.core.errors import UsageError
from compress.cli import run_stage
from compress.existing_path import nearest_existing
from compress.shares import share_argument
from compress.stage_flags import add_stage_flags, network_files, wants_config

log = logging.getLogger(__name__)
TARGETS = ("target_params", "target_gmacs", "target_ms")
WISHES = (
    *("method", "importance", "channels", "blocks", *TARGETS, "board", "prefer"),
    *("width_multiple", "min_share", "min_channels"),
)
RESULTS = ("model.cfg", "model.weights", "prune.json", "layers.png")


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `roadslim prune`."""
    parser.description = (
        "Cut the weakest channels and residual blocks. With CONFIG: the prune stage of that run. Without: a Darknet "
        "cfg and weights become smaller ones, model.cfg and model.weights in DIR, with a report, prune.json. The cut "
        "is checked against the full-size network with the same channels silenced, and nothing is written if they "
        "differ by more than 1e-4."
    )
    parser.epilog = (
        "examples:\n  roadslim prune --cfg model.cfg --weights model.weights --out pruned --channels 85% --blocks 8\n"
        "  roadslim prune --cfg model.cfg --weights model.weights --out pruned --target-params 3000000\n"
        "  roadslim prune --cfg model.cfg --weights model.weights --out pruned --target-ms 10 --board zcu104"
    )
    add_stage_flags(parser, config_needed=False, fresh_help="; without: replace the result that DIR has")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the small network; with CONFIG: the run folder"
    )
    parser.add_argument(
        "--channels", type=share_argument, metavar="SHARE", help="of all channels to cut: 85%% or 0.85 (85%%)"
    )
    parser.add_argument(
        "--blocks",
        type=_blocks,
        metavar="N",
        help="residual blocks to cut; auto: as many as pay with a target, else none (auto)",
    )
    parser.add_argument("--target-params", type=int, metavar="N", help="cut as little as leaves so many parameters")
    parser.add_argument("--target-gmacs", type=float, metavar="X", help="... so many GMACs an image")
    parser.add_argument("--target-ms", type=float, metavar="X", help="... so many predicted ms on one core of the DPU")
    parser.add_argument("--board", metavar="NAME", help="whose DPU the milliseconds are of (zcu104)")
    parser.add_argument(
        "--prefer",
        choices=("speed", "accuracy"),
        help="of the cuts that reach a target in parameters or GMACs the fast ones, or those that lose least (speed)",
    )
    parser.add_argument(
        "--importance",
        choices=("gamma", "reconstruction"),
        help="of a channel: its scale, which a sparse training made small; or how much of what is read it explains on "
        "the images of --calibration (gamma)",
    )
    parser.add_argument("--width-multiple", type=int, metavar="N", help="of kept widths (8 with a target, else 1)")
    parser.add_argument(
        "--min-share", type=share_argument, metavar="SHARE", help="of every layer's channels stays (1%%)"
    )
    parser.add_argument("--min-channels", type=int, metavar="N", help="of every layer stay, where it has them (4)")
    parser.add_argument(
        "--method",
        choices=("cost", "slimming"),
        help="slimming: one threshold, the published way, to compare with (cost)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FOLDER",
        help="some hundred images of the training: over them what stays makes up for what goes, by least squares, BN "
        "statistics are estimated anew, and --importance reconstruction finds its channels",
    )
    parser.add_argument(
        "--layers", action="store_const", const=True, help="also print every layer before and after (as layers.png)"
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the stage of a config, or prune by flags alone."""
    if wants_config(args, ("out",), (*WISHES, "calibration", "layers"), fresh_alone=True):
        return run_stage(args, "prune")
    if args.channels is not None and any(getattr(args, target) is not None for target in TARGETS):
        raise UsageError("expected --channels or a target, found both. A target settles the share: leave one out.")
    return _prune_alone(args)


def _prune_alone(args: argparse.Namespace) -> int:
    from board_app.core.atomic_file import write_text
    from compress.darknet.dpu_hindrances import warn_of_hindrances
    from compress.darknet.model_files import load_model, save_model
    from compress.pruning.layer_picture import draw_layers
    from compress.pruning.layer_rows import print_layers
    from compress.pruning.options import PruneOptions
    from compress.pruning.pruner import prune

    options = PruneOptions(**{name: getattr(args, name) for name in WISHES if getattr(args, name) is not None})
    sources = network_files(args)
    _check_out(args.out, sources, args.fresh)
    network = load_model(*sources)
    warn_of_hindrances(network.cfg)
    if args.calibration is None:
        result = prune(network, options)
    else:
        from compress.pruning.recalibration import folder_batches, with_new_statistics

        pictures = partial(folder_batches, args.calibration, network.cfg.input_hw)
        again = pictures()  # first: its folder may be wrong
        result = with_new_statistics(prune(network, options, pictures), again)
    report = result.report
    paths = save_model(result.network, args.out)
    write_text(args.out / "prune.json", report.to_json() + "\n")
    draw_layers(report, args.out / "layers.png")
    if args.json:
        print(report.to_json())
    else:
        print(report.summary())
        if args.layers:
            print_layers(report.layers)
    log.info("wrote %s, %s, prune.json and layers.png in %.2f s", *paths, report.seconds)
    log.info("next: roadslim evaluate --cfg %s --weights %s DATASET", *paths)
    return 0


def _check_out(out: Path, sources: Sequence[Path], fresh: bool) -> None:
    """Find out before the work whether its results can be written, and what they would replace."""
    there = nearest_existing(out)
    if not there.is_dir():
        raise UsageError(f"--out: expected a folder, found the file {there}. Name another.")
    found = [name for name in RESULTS if (out / name).exists()]
    if any((out / name).samefile(source) for name in found for source in sources if source.exists()):
        raise UsageError(f"--out: expected another folder than the model's own, found {out}. Name a new one.")
    if found and not fresh:
        raise UsageError(
            f"--out: expected a folder without an earlier result, found {', '.join(found)} in {out}. Name a new "
            "one, or replace them with --fresh."
        )


def _blocks(text: str) -> int | str:
    if text != "auto" and not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a number of blocks, or auto, found '{text}'. Give one of them.")
    return text if text == "auto" else int(text)
