"""`roadslim compress`, and the stages of a run alone: `train`, `sparsify`, `distill` (and `prune`, `quantize`)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from board_app.core.errors import UsageError

if TYPE_CHECKING:
    from compress.config import CompressConfig

_STAGE_HELP = {
    "train": "Train the full network from scratch or from Darknet weights.",
    "sparsify": "Train on while the BN gammas of what will be cut are driven to zero.",
    "distill": "Fine-tune the pruned network on the labels and on the unpruned network's answers.",
}


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of one of this module's subcommands."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file as in configs/")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    if name == "compress":
        _add_compress(parser)
    else:
        parser.description = f"{_STAGE_HELP[name]} Goes on where it was stopped; a finished stage is not run again."
        parser.epilog = f"example:\n  roadslim {name} configs/demo.yaml"
        _add_fresh(parser, "run the stage again, finished or not")
        parser.set_defaults(run=lambda args: run_stage(args, name))


def add_stage_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every stage of a CONFIG has, where CONFIG may be left out."""
    _add_fresh(parser, "with CONFIG: run the stage again, finished or not")


def _add_fresh(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--fresh", action="store_true", help=text)
    _add_print_config(parser)


def refuse_stage_flags(args: argparse.Namespace) -> None:
    """Refuse the flags of `add_stage_flags` where no CONFIG is given.

    Raises:
        UsageError: one is set.
    """
    for flag in ("fresh", "print_config"):
        if getattr(args, flag):
            raise UsageError(
                f"--{flag.replace('_', '-')}: expected a CONFIG with it, found none. Name one, or leave out"
            )


def run_stage(args: argparse.Namespace, stage: str) -> int:
    """Run one stage of `args.config`, or with --print-config show its settings."""
    from compress.config import load_config

    config = load_config(args.config)
    if args.print_config:
        return _print_config(config, args)
    from compress.stages import run_single_stage

    results, folder = run_single_stage(config, stage, args.fresh), config.folder / stage
    if stage == "prune":
        _print_prune_report(folder / "prune.json", args.json)
    elif args.json:
        print(json.dumps(_header() | results, indent=1))
    else:
        print("\n".join(_result_lines(results)))
        print(f"\nThe stage is in {folder}/ (mAP on the validation split)")
    return 0


def _add_compress(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train, make sparse, prune, distil, quantise and bundle a detector. Every stage has its folder in runs/NAME/; "
        "a killed run goes on from there, a finished stage is skipped while its inputs and settings are the same."
    )
    parser.epilog = "example:\n  roadslim compress configs/demo.yaml --until prune"
    stages = ("train", "sparsify", "prune", "distill", "quantize", "bundle")
    parser.add_argument("--until", choices=stages, default="bundle", metavar="STAGE", help="stop after this stage")
    parser.add_argument("--fresh", choices=stages, metavar="STAGE", help="run this stage again, finished or not")
    _add_print_config(parser)
    parser.set_defaults(run=_run_all)


def _add_print_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--print-config", action="store_true", help="show every setting and where it comes from, and stop"
    )


def _run_all(args: argparse.Namespace) -> int:
    from compress.config import load_config

    config = load_config(args.config)
    if args.print_config:
        return _print_config(config, args)
    from compress.stages import run_stages

    summary = run_stages(config, args.until, args.fresh)
    if args.json:
        print(json.dumps(summary, indent=1))
        return 0
    rows = summary["rows"]
    for row in rows:
        shares = [f"{label} {100 * row[key]:.1f} %" for label, key in _SHARES if row[key] is not None]
        print(f"{row['model']:<9} {row['params']:>12,} parameters  {', '.join(shares)}")
    print(f"\n{_finished(config, [row['model'] for row in rows])} (mAP50 on the validation split)")
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


def _print_config(config: CompressConfig, args: argparse.Namespace) -> int:
    from compress.config_listing import config_document, config_yaml

    if args.json:
        print(json.dumps(_header() | config_document(config, str(args.config)), indent=1))
    else:
        print(config_yaml(config, str(args.config)), end="")
    return 0


def _print_prune_report(path: Path, as_json: bool) -> None:
    """What `roadslim prune` shows without a config too."""
    from compress.pruning.report import PruneReport

    report = PruneReport.from_json(path.read_text(encoding="utf-8"))
    print(report.to_json() if as_json else report.summary())


def _header() -> dict[str, Any]:
    from roadslim import roadslim_version

    return {"schema_version": 1, "roadslim_version": roadslim_version()}
