"""`roadslim compress`, and its training stages alone: `train`, `sparsify`, `distill`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from compress.config import load_config

_STAGE_HELP = {
    "train": "Train the full network from scratch or from Darknet weights.",
    "sparsify": "Train on while the BN gammas of what will be cut are driven to zero.",
    "distill": "Fine-tune the pruned network on the labels and on the unpruned network's answers.",
}


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of one of this module's subcommands."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file as in configs/")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--print-config", action="store_true", help="show every setting that holds, and stop")
    if name == "compress":
        _add_compress(parser)
    else:
        parser.description = f"{_STAGE_HELP[name]} Goes on where it was stopped; a finished stage is not run again."
        parser.epilog = f"example:\n  roadslim {name} configs/demo.yaml"
        parser.add_argument("--fresh", action="store_true", help="run it again even if it is finished")
        parser.set_defaults(run=lambda args: _run_one(args, name))


def _add_compress(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train, make sparse, prune, distil, quantise and bundle a detector. Every stage has its folder in runs/NAME/; "
        "a killed run goes on from there, a finished stage is skipped while its inputs and settings are the same."
    )
    parser.epilog = "example:\n  roadslim compress configs/demo.yaml --until prune"
    stages = ("train", "sparsify", "prune", "distill", "quantize", "bundle")
    parser.add_argument("--until", choices=stages, default="bundle", metavar="STAGE", help="stop after this stage")
    parser.add_argument("--fresh", choices=stages, metavar="STAGE", help="run this stage again, finished or not")
    parser.set_defaults(run=_run_all)


def _run_all(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    if args.print_config:
        print(config.model_dump_json(indent=1))
        return 0
    from compress.stages import run_stages

    summary = run_stages(config, args.until, args.fresh)
    if args.json:
        print(json.dumps(summary, indent=1))
        return 0
    for row in summary["rows"]:
        shares = [f"{label} {100 * row[key]:.1f} %" for label, key in _SHARES if row[key] is not None]
        size = f"{row['params']:>12,} parameters" if row["params"] else " " * 23
        print(f"{row['model']:<9} {size}  {', '.join(shares)}")
    print(f"\nThe bundle and every stage are in {config.folder}/ (mAP50 on the validation split)")
    return 0


_SHARES = (("mAP50 float", "map50_float"), ("int8", "map50_int8"))


def _run_one(args: argparse.Namespace, stage: str) -> int:
    if args.print_config:
        print(load_config(args.config).model_dump_json(indent=1))
        return 0
    from compress.stages import run_single_stage

    results = run_single_stage(args.config, stage, args.fresh)
    if args.json:
        from roadslim import roadslim_version

        results = {"schema_version": 1, "roadslim_version": roadslim_version(), **results}
        print(json.dumps(results, indent=1))
    return 0
