"""`python -m compress.vitis`: one step of a job, inside the Vitis AI container."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import List, Optional

from board_app.core.errors import RoadslimError
from compress.vitis.job import Job


def main(argv: Optional[List[str]] = None) -> int:
    """Run one step and return the exit code: 0 done, 1 failed, 2 usage."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    job = Job(args.job)
    try:
        if args.step == "compile":
            from compress.vitis.compiler import compile_graph

            quantised = job.output("quantised.xmodel") if args.quantizer == "vitis" else job.input("quantised.xmodel")
            compile_graph(job, quantised, args.fingerprint)
            return 0
        from compress.vitis.quantizer import calibrate, export

        if args.step == "calibrate":
            calibrate(job, args.batch, args.bias_correction == "on")
        else:
            export(job, args.bias_correction == "on")
        return 0
    except (RoadslimError, OSError) as error:
        print(f"compress.vitis {args.step}: {error}", file=sys.stderr, flush=True)
        return error.exit_code if isinstance(error, RoadslimError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m compress.vitis",
        description="One step of a job inside Vitis AI's container; `roadslim compile` on the host calls it.",
    )
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    calibrate = steps.add_parser("calibrate", help="choose fix points with pytorch_nndct")
    export = steps.add_parser("export", help="run the calibrated network and write quantised.xmodel")
    compile_ = steps.add_parser("compile", help="compile a quantised graph with vai_c_xir")
    for step in (calibrate, export, compile_):
        step.add_argument("--job", type=Path, default=Path(), metavar="DIR", help="the job folder (here)")
    for step in (calibrate, export):
        step.add_argument("--bias-correction", choices=("on", "off"), default="on", help="as in calibration (on)")
    calibrate.add_argument("--batch", type=_above_zero, default=4, metavar="N", help="images a forward (4)")
    compile_.add_argument("--fingerprint", type=_hexadecimal, required=True, metavar="0x...", help="of the DPU")
    compile_.add_argument(
        "--quantizer", choices=("roadslim", "vitis"), default="roadslim",
        help="whose graph: input/quantised.xmodel of roadslim, or output/quantised.xmodel of `export` (roadslim)",
    )  # fmt: skip
    return parser


def _above_zero(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {text}")
    return int(text)


def _hexadecimal(text: str) -> int:
    return int(text, 16)


if __name__ == "__main__":
    sys.exit(main())
