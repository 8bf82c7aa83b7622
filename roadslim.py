"""The one command: `roadslim SUBCOMMAND`.

This file only knows where each subcommand lives; the package that owns it is imported when it is used.
A module named here has `add_parser(name, parser)`, which adds the arguments and sets `run`, a function
from the parsed arguments to the exit code.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import sys
from importlib.metadata import PackageNotFoundError, version

from board_app.core.errors import RoadslimError
from dpu.errors import DpuError

SUBCOMMANDS = {
    "data": ("compress.data.cli", "check, convert and make datasets"),
    "compress": ("compress.cli", "every stage from images to a bundle"),
    "train": ("compress.cli", "train the network (one stage alone)"),
    "sparsify": ("compress.cli", "sparse training on the BN gammas (one stage alone)"),
    "prune": ("compress.pruning.cli", "cut channels and blocks"),
    "distill": ("compress.cli", "fine-tune with the unpruned network as teacher (one stage alone)"),
    "quantize": ("compress.quantization.cli", "int8 on the DPU's grid"),
    "export": ("compress.darknet.cli", "the network in another format"),
    "evaluate": ("bench.cli", "mAP50, mAP50-95, F1 of a model on a dataset"),
    "xmodel": ("dpu.cli", "show, check and run .xmodel files"),
    "predict": ("bench.cli", "predicted DPU time of a network"),
    "live": ("deploy.cli", "the board application here, on the software DPU"),
    "deploy": ("deploy.cli", "put a bundle on a board and start it"),
    "bench": ("bench.cli", "measure detectors, summary table and report"),
}
RESUMABLE = ("compress", "train", "sparsify", "prune", "distill", "quantize", "bench")


def roadslim_version() -> str:
    """The installed version, or `unknown` when run from a plain checkout."""
    try:
        return version("roadslim")
    except PackageNotFoundError:
        return "unknown"


def _overview() -> argparse.ArgumentParser:
    width = max(map(len, SUBCOMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in SUBCOMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="roadslim",
        description="From road images to a live int8 detector on a ZCU104, with numbers.",
        epilog=f"subcommands:\n{listing}\n\n`roadslim SUBCOMMAND --help` explains each, with an example.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"roadslim {roadslim_version()}")
    parser.add_argument("subcommand", choices=SUBCOMMANDS, metavar="SUBCOMMAND")
    return parser


def _let_stdout_go() -> None:
    """Let what cannot be written to stdout go, so that Python does not try again at its end and fail."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return the exit code: 0 done, 1 failed, 2 usage, 3 rolled back, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    name = _overview().parse_args(argv[:1]).subcommand
    from rich_argparse import RawDescriptionRichHelpFormatter

    parser = argparse.ArgumentParser(
        prog=f"roadslim {name}", formatter_class=RawDescriptionRichHelpFormatter, allow_abbrev=False
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        importlib.import_module(SUBCOMMANDS[name][0]).add_parser(name, parser)
        args = parser.parse_args(argv[1:])
        exit_code = int(args.run(args))
        sys.stdout.flush()
        return exit_code
    except (RoadslimError, DpuError) as error:
        print(f"roadslim {name}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader, such as `head`, has enough
        _let_stdout_go()
        return 1
    except OSError as error:
        _let_stdout_go()
        if error.errno != errno.ENOSPC:
            print(f"roadslim {name}: {error}", file=sys.stderr)
        else:
            print(
                f"roadslim {name}: the disk is full, nothing finished was lost ({error}). "
                "Free some space and run the same command again.",
                file=sys.stderr,
            )
        return 1
    except KeyboardInterrupt:
        advice = " The same command goes on from here." if name in RESUMABLE else ""
        print(f"roadslim {name}: interrupted.{advice}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
