"""The one command: `roadslim SUBCOMMAND`.

This file only knows where each subcommand lives; the package that owns it is imported when it is used.
A module named here has `add_parser(name, parser)`, which adds the arguments and sets `run`, a function
from the parsed arguments to the exit code; with the default `intermixed` flags may stand between the paths.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import FrameType

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
    "search": ("compress.search.cli", "the Pareto front of mAP against predicted DPU time"),
    "export": ("compress.darknet.cli", "the network in another format"),
    "evaluate": ("bench.cli", "mAP50, mAP50-95, F1 of a model on a dataset"),
    "xmodel": ("dpu.cli", "show, check and run .xmodel files"),
    "predict": ("bench.cli", "predicted DPU time of a network"),
    "compile": ("deploy.compile_cli", "AMD's compiler in its container, for one DPU"),
    "live": ("deploy.cli", "the board application here, on the software DPU"),
    "deploy": ("deploy.cli", "put a bundle on a board and start it"),
    "bench": ("bench.cli", "measure detectors, summary table and report"),
}
RESUMABLE = ("compress", "train", "sparsify", "prune", "distill", "quantize", "search", "bench")


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


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupt wait for the end of an import: inside, it comes out as any other error, or not at all.

    Where interrupts are ignored, as in a shell's background, they still are.
    """
    waiting: list[threading.Timer] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        waiting.clear()
        while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
            frame = frame.f_back
        if frame is None:
            raise KeyboardInterrupt
        again = threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, number))
        again.daemon = True
        waiting.append(again)
        again.start()

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for timer in waiting:
            timer.cancel()
            raise KeyboardInterrupt


def _told(error: OSError) -> str:
    """An error of the file system in three parts, with the user's path instead of our temporary name beside it."""
    if not isinstance(error.filename, str):
        return str(error)
    folder, name = os.path.split(error.filename)
    temporary = re.fullmatch(r"\.(?:partial-\d+-(.+)|(.+)\.\w+\.part(?:ial)?)", name)
    path = os.path.join(folder, temporary[1] or temporary[2]) if temporary else error.filename
    if isinstance(error, FileNotFoundError):
        if temporary and os.path.isdir(folder or "."):
            return f"{path}: expected a folder that takes files, found {folder}, which does not. Name another."
        if temporary:
            return f"{path}: expected the folder {folder or '.'}, found none. Make it first, or name another."
        return f"expected a file or folder at {path}, found none. Check the path."
    if isinstance(error, PermissionError):
        return f"expected access to {path}, found no permission. Change its permissions, or name another path."
    if isinstance(error, IsADirectoryError):
        target = error.filename2 if isinstance(error.filename2, str) else path
        return f"expected a file at {target}, found a folder. Name a file."
    if isinstance(error, NotADirectoryError):
        return f"{path}: expected a folder on the way to it, found a file. Check the path."
    return str(error)


def _run(name: str, argv: list[str]) -> int:
    from rich_argparse import RawDescriptionRichHelpFormatter

    RawDescriptionRichHelpFormatter.group_name_formatter = str.lower
    parser = argparse.ArgumentParser(
        prog=f"roadslim {name}", formatter_class=RawDescriptionRichHelpFormatter, allow_abbrev=False
    )
    importlib.import_module(SUBCOMMANDS[name][0]).add_parser(name, parser)
    intermixed = parser.get_default("intermixed")  # flags between the positional arguments
    args = parser.parse_intermixed_args(argv) if intermixed else parser.parse_args(argv)
    return int(args.run(args))


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return the exit code: 0 done, 1 failed, 2 usage, 3 rolled back, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    name = _overview().parse_args(argv[:1]).subcommand
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        with _interruptible():
            exit_code = _run(name, argv[1:])
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
            print(f"roadslim {name}: {_told(error)}", file=sys.stderr)
        else:
            print(
                f"roadslim {name}: the disk is full, nothing finished was lost ({error}). "
                "Free some space and run the same command again.",
                file=sys.stderr,
            )
        return 1
    except KeyboardInterrupt:
        resumed = name in RESUMABLE and "--cfg" not in argv  # a network named by flags has no run folder
        advice = " The same command goes on from here." if resumed else ""
        print(f"roadslim {name}: interrupted.{advice}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
