"""`roadslim compile`."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from board_app.core.errors import UsageError
from deploy.container import ENGINES, IMAGE, chosen_engine
from dpu.cli import fingerprint_argument

if TYPE_CHECKING:
    from deploy.compile_job import CompileOptions

BOARD, BOARD_IMAGE = "zcu104", "3.0"


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `roadslim compile`."""
    parser.description = (
        "Compile a bundle for one DPU with AMD's compiler, in the container that Dockerfile.vitis makes.\n"
        "The bundle's own quantised model is compiled as it is, since its accuracy is the one that was measured;\n"
        "--quantizer vitis lets AMD's quantiser calibrate the float network instead, and compares it with ours.\n"
        "Nothing is downloaded or built here. This was tested with stand-ins for AMD's tools, never in their container."
    )
    parser.epilog = (
        "example:\n  roadslim compile runs/demo/bundle/demo.bundle --board zcu104 --out demo-zcu104.bundle\n"
        "  roadslim compile runs/demo/bundle/demo.bundle --fingerprint 0x101000016010407 --print"
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a quantised .bundle folder")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--board", metavar="NAME", help=f"a board with AMD's image on its card ({BOARD})")
    target.add_argument(
        "--fingerprint",
        type=fingerprint_argument,
        metavar="0x...",
        help="exactly this DPU, as `xdputil query` prints it",
    )
    parser.add_argument(
        "--board-image", metavar="VERSION", help=f"Vitis AI version of the image on the board's card ({BOARD_IMAGE})"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the compiled bundle (NAME-BOARD.bundle, here)")
    parser.add_argument(
        "--compiled", type=Path, metavar="FILE",
        help="an .xmodel that was compiled of BUNDLE elsewhere: check it and make the bundle; runs no container",
    )  # fmt: skip
    parser.add_argument("--engine", choices=ENGINES, help="what runs the container (docker, else podman)")
    parser.add_argument("--image", default=IMAGE, metavar="TAG", help="the image from Dockerfile.vitis (%(default)s)")
    parser.add_argument(
        "--quantizer", choices=("roadslim", "vitis"), default="roadslim",
        help="whose quantised model is compiled (default: %(default)s, the bundle's own)",
    )  # fmt: skip
    vitis = parser.add_argument_group("calibration", "With --quantizer vitis:")
    vitis.add_argument("--cfg", type=Path, help="Darknet cfg of the float network (that of the bundle's run)")
    vitis.add_argument("--weights", type=Path, help="its Darknet weights")
    vitis.add_argument("--calibration", type=Path, metavar="FOLDER", help="images to choose the fix points on")
    vitis.add_argument("--batch", type=int, metavar="N", help="images a calibration forward (4)")
    vitis.add_argument("--bias-correction", choices=("on", "off"), help="of AMD's quantiser (on)")
    parser.add_argument("--print", action="store_true", help="show the exact commands, run none; needs no engine")
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout; the steps go to stderr")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile, or print how; the exit code is 0 or that of the error which is raised."""
    from rich.console import Console

    from deploy.compilation import checked, compile_bundle, pack_compiled
    from deploy.steps import Steps

    options = _options(args)
    if args.print:
        checked(args.bundle, options)
        print(_script(args.bundle, options))
        return 0
    terminal = Console(stderr=True, highlight=False)
    steps = Steps(terminal if args.json else Console(highlight=False), terminal)
    with _terminated_is_interrupted():
        if args.compiled:
            report = pack_compiled(args.bundle, args.compiled, options, steps)
        else:
            report = compile_bundle(args.bundle, options, steps)
    if args.json:
        print(json.dumps(report.document()), flush=True)
    if report.error is not None:
        raise report.error
    return 0


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """Let a SIGTERM, as of a build server, end as an interrupt does: the container would go on without us."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _options(args: argparse.Namespace) -> CompileOptions:
    from deploy.compile_job import CompileOptions, check_dpu
    from dpu.architecture import board

    _check_flags(args)
    if args.fingerprint is not None and args.board_image is not None:
        raise UsageError(
            "--board-image: expected with --board, found with --fingerprint, which says all. Leave it out."
        )
    fingerprint, target = args.fingerprint, f"0x{args.fingerprint or 0:x}"
    if fingerprint is None:
        version = args.board_image or BOARD_IMAGE
        on = board(args.board or BOARD).with_image(version)
        fingerprint, target = on.fingerprints[version], on.name
    if not args.compiled:
        check_dpu(fingerprint)
    return CompileOptions(
        fingerprint=fingerprint,
        out=args.out or Path(f"{args.bundle.absolute().stem}-{target}.bundle"),
        engine=chosen_engine(args.engine),
        image=args.image,
        quantizer=args.quantizer,
        cfg=args.cfg,
        weights=args.weights,
        calibration=args.calibration,
        batch=args.batch or CompileOptions.batch,
        bias_correction=args.bias_correction != "off",
    )


def _check_flags(args: argparse.Namespace) -> None:
    """Refuse what would have no effect, or cannot have one."""
    if args.print and args.json:
        raise UsageError("--print: expected without --json, found with it: it shows commands. Leave one out.")
    if args.compiled and (args.print or args.quantizer != "roadslim"):
        raise UsageError(
            "--compiled: expected without --print and --quantizer vitis, found with one of them: the model is made "
            "already. Leave them out."
        )
    if args.quantizer == "roadslim":
        flags = ("cfg", "weights", "calibration", "batch", "bias_correction")
        given = [f"--{flag.replace('_', '-')}" for flag in flags if getattr(args, flag) is not None]
        if given:
            raise UsageError(
                f"{', '.join(given)}: expected with --quantizer vitis, found without it: the bundle's own quantised "
                "model is compiled as it is. Add --quantizer vitis, or leave them out."
            )
    if args.batch is not None and args.batch < 1:
        raise UsageError(f"--batch: expected 1 or more, found {args.batch}. The usual is 4.")


def _script(bundle: Path, options: CompileOptions) -> str:
    """The commands as a shell would take them; what only this program can do is a comment."""
    import shlex

    job = options.job
    lines = [
        "# once: the image",
        shlex.join(options.engine.build_command(options.image)),
        "# the job",
        shlex.join(["mkdir", "-p", str(job / "input"), str(job / "output")]),
    ]
    if options.quantizer == "roadslim":
        model = bundle.absolute() / "model.xmodel"
        lines.append(shlex.join(["cp", str(model), str(job / "input" / "quantised.xmodel")]))
    else:
        lines.append(f"# {job}/input: model.cfg, model.weights, images.npy (uint8 N x 3 x H x W, RGB, letterboxed)")
    lines += map(shlex.join, options.commands())
    compiled = job / "output" / "compiled.xmodel"
    target = f"--fingerprint=0x{options.fingerprint:x}"
    pack = ["roadslim", "compile", str(bundle), target, "--compiled", str(compiled), "--out", str(options.out)]
    if options.quantizer == "roadslim":
        lines += ["# the compiled bundle", shlex.join(pack), shlex.join(["rm", "-r", str(job)])]
    else:
        lines.append(f"# the compiled model is then {compiled}; without --print it becomes {options.out}")
    return "\n".join(lines)
