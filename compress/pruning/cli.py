"""`roadslim prune`: as a stage of a run, or from a cfg and weights alone."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from board_app.core.errors import UsageError
from compress.cli import run_stage
from compress.stage_flags import add_stage_flags, flag, network_files, wants_config

log = logging.getLogger(__name__)
WISHES = ("channels", "blocks", "min_share", "min_channels", "width_multiple", "target_params", "target_gmacs")


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
        "  roadslim prune --cfg model.cfg --weights model.weights --out pruned --target-params 3000000"
    )
    add_stage_flags(parser, config_needed=False)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the small network; with CONFIG: the run folder"
    )
    parser.add_argument("--channels", metavar="SHARE", help="share of all channels to cut, as 85%% or 0.85 (85%%)")
    parser.add_argument("--blocks", type=int, metavar="N", help="residual blocks to cut, three layers each (0)")
    parser.add_argument("--target-params", type=int, metavar="N", help="cut channels down to so many parameters")
    parser.add_argument("--target-gmacs", type=float, metavar="X", help="cut channels down to so many GMACs an image")
    parser.add_argument("--width-multiple", type=int, metavar="N", help="round kept widths to multiples of N (1)")
    parser.add_argument("--min-share", metavar="SHARE", help="of every layer at least this share stays (1%%)")
    parser.add_argument("--min-channels", type=int, metavar="N", help="and at least so many channels (4)")
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the stage of a config, or prune by flags alone."""
    if wants_config(args, ("out",), WISHES):
        return run_stage(args, "prune")
    if args.channels is not None and (args.target_params is not None or args.target_gmacs is not None):
        raise UsageError("expected --channels or a target, found both. A target settles the share: leave one out.")
    return _prune_alone(args)


def _prune_alone(args: argparse.Namespace) -> int:
    from board_app.core.atomic_file import write_text
    from compress.darknet.model_files import load_model, save_model
    from compress.pruning.options import PruneOptions
    from compress.pruning.pruner import prune

    wishes = {name: getattr(args, name) for name in WISHES if getattr(args, name) is not None}
    for name in ("channels", "min_share"):
        if name in wishes:
            wishes[name] = parse_share(flag(name), wishes[name])
    options = PruneOptions(**wishes)
    sources = network_files(args)
    for source in sources:
        for target in (args.out / "model.cfg", args.out / "model.weights"):
            if target.exists() and source.exists() and target.samefile(source):
                raise UsageError(
                    f"--out: expected another folder than the model's own, found {args.out}. Name a new one."
                )
    result = prune(load_model(*sources), options)
    paths = save_model(result.network, args.out)
    write_text(args.out / "prune.json", result.report.to_json() + "\n")
    if args.json:
        print(result.report.to_json())
    else:
        print(result.report.summary())
    log.info("wrote %s, %s and %s in %.2f s", *paths, args.out / "prune.json", result.report.seconds)
    log.info("next: roadslim evaluate --cfg %s --weights %s DATASET", *paths)
    return 0


def parse_share(name: str, text: str) -> float:
    """A share given as 85% or 0.85.

    Raises:
        UsageError: it is neither, or not from 0 to 1.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = float("nan")
    if not 0 <= share <= 1:
        raise UsageError(f"{name}: expected a share such as 85% or 0.85, found '{text}'. Give one from 0% to 100%.")
    return share
