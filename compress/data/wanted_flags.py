"""The flags of every command that reads a dataset: what is taken of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.data.dataset import Wanted


def add_wanted(parser: argparse.ArgumentParser) -> None:
    """Add --map, --ignore and --countries; a configuration has map_classes, ignore_classes and countries."""
    parser.add_argument(
        "--map", nargs="+", type=_renamed, default=(), metavar="OLD=NEW", help="give classes other names"
    )
    parser.add_argument("--ignore", nargs="+", default=(), metavar="CLASS", help="leave classes out; images stay")
    parser.add_argument("--countries", nargs="+", default=(), metavar="NAME", help="of RDD, such as Japan India")


def _renamed(text: str) -> tuple[str, str]:
    """`OLD=NEW`; an empty NEW leaves the class out."""
    old, separator, new = text.partition("=")
    if not old or not separator:
        raise argparse.ArgumentTypeError(f"expected OLD=NEW such as D01=D00, found {text!r}")
    return old, new


def wanted_of(args: argparse.Namespace) -> Wanted:
    """What the flags of `add_wanted` say."""
    from compress.data.dataset import Wanted

    return Wanted(dict(args.map), args.ignore, args.countries)
