"""The flags of a stage's own command: its CONFIG with the network it starts from, or a network by flags alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from board_app.core.errors import UsageError

STARTS_FROM = {  # every stage but the first, and the one whose result it takes
    "sparsify": "train",
    "prune": "sparsify",
    "distill": "prune",
    "quantize": "distill",
    "bundle": "quantize",
}
_NETWORK = ("cfg", "weights", "model")


def add_stage_flags(parser: argparse.ArgumentParser, config_needed: bool, fresh_help: str = "") -> None:
    """Add CONFIG, the flags that name a network, and those that every stage of a CONFIG has.

    `fresh_help` says what --fresh does without a CONFIG; where it is empty it needs one.
    """
    note = "" if config_needed else "with CONFIG: "
    number = None if config_needed else "?"
    parser.add_argument("config", nargs=number, type=Path, metavar="CONFIG", help="a YAML file as in configs/")
    parser.add_argument("--cfg", type=Path, help="Darknet cfg of the network to start from")
    parser.add_argument("--weights", type=Path, help="its weights")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="instead of both: a stage folder of a run")
    parser.add_argument("--fresh", action="store_true", help=f"{note}run the stage again, finished or not{fresh_help}")
    add_print_config(parser)


def add_print_config(parser: argparse.ArgumentParser) -> None:
    """Add --print-config."""
    parser.add_argument(
        "--print-config", action="store_true", help="show every setting and where it comes from, and stop"
    )


def wants_config(
    args: argparse.Namespace, needed: Sequence[str], wishes: Sequence[str], fresh_alone: bool = False
) -> bool:
    """Whether a stage of CONFIG is wanted; false where flags alone say everything.

    Args:
        args: the parsed flags.
        needed: the flags that, beside the network's, must be there without a CONFIG.
        wishes: those that only count without a CONFIG, which has keys for them.
        fresh_alone: whether --fresh counts without a CONFIG too.
    Raises:
        UsageError: flags of both ways, or not enough of one.
    """
    if args.config is not None:
        given = [name for name in wishes if getattr(args, name) is not None]
        if given:
            raise UsageError(
                f"expected CONFIG or flags, found CONFIG and {flag(given[0])}. Set it in the config, or leave one out."
            )
        return True
    for name in ("print_config",) if fresh_alone else ("fresh", "print_config"):
        if getattr(args, name):
            raise UsageError(f"{flag(name)}: expected a CONFIG with it, found none. Name one, or leave out")
    network = () if args.model else ("cfg", "weights")
    missing = [flag(name) for name in (*network, *needed) if getattr(args, name) is None]
    if missing:
        usual = ", ".join(flag(name) for name in ("cfg", "weights", *needed))
        raise UsageError(f"expected a CONFIG, or {usual}, found no {', '.join(missing)}. Add what is missing.")
    named_network(args)
    return False


def named_network(args: argparse.Namespace) -> tuple[Path, ...]:
    """What the flags name: a folder, a cfg and weights, or nothing.

    Raises:
        UsageError: half of a pair, or both ways.
    """
    given = [name for name in _NETWORK if getattr(args, name) is not None]
    if given not in ([], ["model"], ["cfg", "weights"]):
        found = " and ".join(map(flag, given))
        raise UsageError(f"expected --cfg and --weights, or --model, found {found}. Give one or the other.")
    return tuple(getattr(args, name) for name in given)


def network_files(args: argparse.Namespace) -> tuple[Path, Path]:
    """The cfg and weights that the flags name; a folder is looked into."""
    from compress.darknet.model_files import model_paths

    return model_paths(args.model) if args.model else (args.cfg, args.weights)


def config_flags(args: argparse.Namespace, stage: str) -> dict[str, Any]:
    """By dotted key the settings that the flags change: where the stage starts from, and --out, the run folder."""
    settings: dict[str, Any] = {}
    network = named_network(args) if stage in STARTS_FROM or args.model else ()
    if network and stage in STARTS_FROM:
        settings[f"given.{STARTS_FROM[stage]}"] = [str(path) for path in network]
    elif network:
        settings |= {"network.cfg": str(network[0] / "model.cfg"), "network.weights": str(network[0] / "model.weights")}
    else:
        settings |= {f"network.{name}": str(getattr(args, name)) for name in ("cfg", "weights") if getattr(args, name)}
    if "network.cfg" in settings:
        settings["network.width"] = 1.0  # it is named as it is
    if args.out is not None:
        out = args.out if args.out.name not in ("", "..") else args.out.resolve()
        settings |= {"runs": str(out.parent), "name": out.name}
    return settings


def flag(name: str) -> str:
    """How an argument's name is typed."""
    return "--" + name.replace("_", "-")
