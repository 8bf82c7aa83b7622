"""`roadslim compress`, and the stages of a run alone: `train`, `sparsify`, `distill` (and `prune`, `quantize`)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from board_app.core.errors import InputError, UsageError
from compress.stage_flags import STARTS_FROM, add_print_config, add_stage_flags, config_flags

if TYPE_CHECKING:
    from compress.config import CompressConfig

_STAGE_HELP = {
    "train": "Train the full network from scratch or from Darknet weights. For a network that --cfg or --model names "
    "`width` in CONFIG does not count.",
    "sparsify": "Train on while the BN gammas of what will be cut are driven to zero.",
    "distill": "Fine-tune the pruned network on the labels and on the unpruned network's answers.",
}


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of one of this module's subcommands."""
    if name == "compress":
        parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file as in configs/")
        _add_compress(parser)
    else:
        parser.description = (
            f"{_STAGE_HELP[name]} Goes on where it was stopped; a finished stage is not run again. It starts from the "
            "stage before it in the same run, or from the network that flags or `given` in CONFIG name."
        )
        parser.epilog = (
            f"examples:\n  roadslim {name} configs/demo.yaml\n"
            f"  roadslim {name} configs/demo.yaml --model runs/other/train --out runs/try"
        )
        add_stage_flags(parser, config_needed=True)
        parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder, instead of the one in CONFIG")
        parser.set_defaults(run=lambda args: run_stage(args, name))
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run_stage(args: argparse.Namespace, stage: str) -> int:
    """Run one stage of `args.config`, or with --print-config show its settings."""
    from compress.config import load_config

    flags = config_flags(args, stage)
    config = load_config(args.config, flags)
    if args.print_config:
        return print_config(config, args, flags)
    from compress.stages import run_single_stage
    from compress.training.processes import is_main

    with named_in(args.config):
        results, folder = run_single_stage(config, stage, args.fresh), config.folder / stage
    if not is_main():
        return 0
    if stage == "prune":
        _print_prune_report(folder / "prune.json", args.json)
    elif args.json:
        print(json.dumps(_header() | results, indent=1))
    else:
        print("\n".join(_result_lines(results)))
        print(f"\nThe stage is in {folder}/ (mAP on the validation split)")
    return 0


@contextmanager
def named_in(path: Path) -> Iterator[None]:
    """Name the file in every complaint that begins with a quoted key of it."""
    try:
        yield
    except (UsageError, InputError) as error:
        lines = [f"{path}: {line}" if line.startswith("'") else line for line in str(error).splitlines()]
        raise type(error)("\n".join(lines)) from error


def _add_compress(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train, make sparse, prune, distil, quantise and bundle a detector. Every stage has its folder in runs/NAME/; "
        "a killed run goes on from there, a finished stage is skipped while its inputs and settings are the same."
    )
    parser.epilog = (
        "examples:\n  roadslim compress configs/demo.yaml --until prune\n"
        "  roadslim compress configs/yolov3-608-rdd2022.yaml --estimate --images 10000"
    )
    stages = ("train", *STARTS_FROM)
    parser.add_argument("--until", choices=stages, default="bundle", metavar="STAGE", help="stop after this stage")
    parser.add_argument("--fresh", choices=stages, metavar="STAGE", help="run this stage again, finished or not")
    add_print_config(parser)
    parser.add_argument(
        "--estimate", action="store_true", help="measure some steps of every stage, say what the run would take, stop"
    )
    parser.add_argument(
        "--images", type=int, metavar="N", help="with --estimate: of training, where the dataset is not there yet"
    )
    parser.set_defaults(run=_run_all)


def _run_all(args: argparse.Namespace) -> int:
    from compress.config import load_config

    config = load_config(args.config)
    if args.print_config:
        return print_config(config, args)
    if args.estimate:
        with named_in(args.config):
            return _estimate(config, args)
    if args.images is not None:
        raise UsageError("--images: expected --estimate with it, found none. Add it, or leave out --images")
    from compress.stages import run_stages
    from compress.training.processes import is_main

    with named_in(args.config):
        summary = run_stages(config, args.until, args.fresh)
    if not is_main():
        return 0
    if args.json:
        print(json.dumps(summary, indent=1))
        return 0
    rows = summary["rows"]
    for row in rows:
        shares = [f"{label} {100 * row[key]:.1f} %" for label, key in _SHARES if row[key] is not None]
        print(f"{row['model']:<9} {row['params']:>12,} parameters  {', '.join(shares)}")
    if not rows:
        print(f"Nothing had to run: [given] names a network for every stage up to {args.until}")
        return 0
    print(f"\n{_finished(config, [row['model'] for row in rows])} (mAP50 on the validation split)")
    return 0


def _estimate(config: CompressConfig, args: argparse.Namespace) -> int:
    from compress.estimate import estimate_run
    from compress.estimate.text import estimate_document, estimate_text
    from compress.training.processes import check_alone

    check_alone("--estimate", "Leave out torchrun or accelerate: it measures one process")
    estimate = estimate_run(config, args.until, args.images)
    print(json.dumps(_header() | estimate_document(estimate), indent=1) if args.json else estimate_text(estimate))
    return 0


def _finished(config: CompressConfig, stages: list[str]) -> str:
    """Which stages are finished and up to date, and where they are."""
    bundle = "bundle"
    if bundle in stages:
        return f"The bundle is {config.folder / bundle / config.name}.bundle; every stage is in {config.folder}/"
    return f"Finished up to {stages[-1]}, in {config.folder}/; there is no bundle of it yet"


def _result_lines(results: dict[str, Any]) -> list[str]:
    """A stage's results, a line each, as `compress` formats them; what only the next stage needs is left out."""
    lines = []
    for name, value in results.items():
        label, form = _RESULTS.get(name, (name, "{}"))
        if name == "map50" and "map50_float" in results:
            label = "mAP50 int8"
        elif name == "map50_95" and "map50_float" in results:
            label = "mAP50-95 int8"
        if name in _SHARES_OF_ONE:
            value = 100 * value
        if not isinstance(value, dict | list):
            lines.append(f"{label:<14} {form.format(value)}")
    return lines


_SHARES_OF_ONE = ("map50", "map50_95", "map50_float", "map50_int8", "zero_share")
_RESULTS = {
    "params": ("parameters", "{:,}"),
    "gmacs": ("GMACs", "{:.3f}"),
    "map50": ("mAP50", "{:.1f} %"),
    "map50_95": ("mAP50-95", "{:.1f} %"),
    "map50_float": ("mAP50 float", "{:.1f} %"),
    "map50_int8": ("mAP50 int8", "{:.1f} %"),
    "zero_share": ("zero gammas", "{:.1f} %"),
}
_SHARES = (("mAP50 float", "map50_float"), ("int8", "map50_int8"))


def print_config(config: CompressConfig, args: argparse.Namespace, flags: Collection[str] = ()) -> int:
    """Show every setting and where it comes from, as YAML or, with --json, as JSON."""
    from compress.config_listing import config_document, config_yaml

    if args.json:
        print(json.dumps(_header() | config_document(config, str(args.config), flags), indent=1))
    else:
        print(config_yaml(config, str(args.config), flags), end="")
    return 0


def _print_prune_report(path: Path, as_json: bool) -> None:
    """What `roadslim prune` shows without a config too."""
    from compress.pruning.report import PruneReport

    report = PruneReport.from_json(path.read_text(encoding="utf-8"))
    print(report.to_json() if as_json else report.summary())


def _header() -> dict[str, Any]:
    from roadslim import roadslim_version

    return {"schema_version": 1, "roadslim_version": roadslim_version()}
