"""`roadslim quantize`: int8 on the DPU's grid, as a stage of a run or from a cfg, weights and images alone."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from board_app.core.errors import UsageError
from compress.cli import run_stage
from compress.stage_flags import add_stage_flags, network_files, wants_config

if TYPE_CHECKING:
    from torch import Tensor

    from compress.quantization.calibration_images import CalibrationImages
    from compress.quantization.quantized_network import QuantizedNetwork

NEEDED = ("calibration", "out")
WISHES = ("calibration", "batch", "bias_correction", "equalization", "calibration_target")
USUAL_BATCH = 4


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `roadslim quantize`."""
    parser.description = (
        "Power-of-two int8 by the rules of Vitis AI's quantiser. With CONFIG: the quantize stage of that run. Without: "
        "a Darknet network and a folder of images become a *_int.xmodel, whose outputs are the raw head convolutions "
        "in cfg order. The images are taken in name order, RGB / 255, letterboxed where their size is another."
    )
    parser.epilog = (
        "example:\n  roadslim quantize --cfg model.cfg --weights model.weights --calibration images/ "
        "--batch 4 --out road_int.xmodel\n  roadslim xmodel run road_int.xmodel --input image.npy --output heads.npz"
    )
    add_stage_flags(parser, config_needed=False)
    parser.add_argument("--calibration", type=Path, metavar="FOLDER", help="images to choose the fix points on")
    parser.add_argument("--batch", type=int, metavar="N", help="images a calibration forward (4)")
    parser.add_argument("--bias-correction", choices=("on", "off"), help="move biases against the mean error (on)")
    parser.add_argument(
        "--equalization",
        choices=("nndct", "activations", "off"),
        help="scale channels along ReLU chains as Vitis AI does, or everywhere by the ranges of activations, or not "
        "at all (nndct)",
    )
    parser.add_argument(
        "--calibration-target",
        choices=("tensor", "outputs"),
        help="choose fix points by each tensor's own error, as Vitis AI does, or go on from there by the error of the "
        "network's outputs, which takes minutes (tensor)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="NAME_int.xmodel", help="where the graph goes; with CONFIG: the run folder"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="also tell where int8 loses: a table, report.json and report.png in DIR, made if missing; with CONFIG the "
        "stage's folder has them",
    )
    parser.add_argument("--json", action="store_true", help="every fix point as JSON on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the stage of a config, or quantise by flags alone."""
    if wants_config(args, NEEDED, WISHES):
        if args.report is not None:
            raise UsageError(
                "expected CONFIG or --report, found both. The stage's folder has its report: leave it out."
            )
        return run_stage(args, "quantize")
    if args.batch is not None and args.batch < 1:
        raise UsageError(f"--batch: expected 1 or more, found {args.batch}. The usual is {USUAL_BATCH}.")
    args.bias_correction = args.bias_correction or "on"
    args.equalization = args.equalization or "nndct"
    args.calibration_target = args.calibration_target or "tensor"
    _quantize_alone(args)
    return 0


def _quantize_alone(args: argparse.Namespace) -> None:
    from compress.darknet.model_files import load_model
    from compress.quantization.graph_export import to_xmodel
    from compress.quantization.quantizer import quantize
    from compress.quantization.report import measure, write_report
    from dpu import xmodel

    started = time.monotonic()
    _check_targets(args)
    network = load_model(*network_files(args))
    images = _calibration_images(args, network.cfg.input_hw)
    batches = _with_progress(images, "calibrating")
    quantized = quantize(network, batches, args.bias_correction == "on", args.calibration_target, args.equalization)
    graph = to_xmodel(quantized, args.out.stem.removesuffix("_int"))
    losses = measure(quantized, _with_progress(images, "measuring")) if args.report else None
    if losses:
        args.report.mkdir(exist_ok=True)
        write_report(losses, args.report)
    xmodel.save(graph, args.out)
    report = _report(args, quantized, len(images.paths), len(images), time.monotonic() - started)
    if losses:
        report["report"] = str(args.report)
    print(json.dumps(report, indent=1) if args.json else _text(report))
    if losses and not args.json:
        print(f"{losses.table()}\nThe report is in {args.report}/")


def _check_targets(args: argparse.Namespace) -> None:
    """Find out before the work whether its results can be written."""
    for flag, target in (("--out", args.out), ("--report", args.report)):
        if target is None:
            continue
        folder = target if flag == "--report" and target.is_dir() else target.absolute().parent
        if not folder.is_dir():
            raise UsageError(f"{flag}: expected an existing folder, found no {folder}. Make it first.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"{flag}: expected a folder to write to, found {folder} closed to you. Name another.")
    if args.out.is_dir():
        raise UsageError(f"--out: expected a file's name, found the folder {args.out}. Add a name, NAME_int.xmodel.")
    if args.report is not None and args.report.exists() and not args.report.is_dir():
        raise UsageError(f"--report: expected a folder, found the file {args.report}. Name another.")


def _calibration_images(args: argparse.Namespace, input_hw: tuple[int, int]) -> CalibrationImages:
    from compress.quantization.calibration_images import CalibrationImages

    return CalibrationImages(args.calibration, input_hw, args.batch or USUAL_BATCH)


def _with_progress(images: CalibrationImages, what: str) -> Iterable[Tensor]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(images, what, len(images), console=console, disable=not sys.stderr.isatty(), transient=True)


def _report(
    args: argparse.Namespace, quantized: QuantizedNetwork, images: int, batches: int, seconds: float
) -> dict[str, Any]:
    from board_app.core.atomic_file import sha256_of

    return {
        **_header(),
        "xmodel": str(args.out),
        "sha256": sha256_of(args.out),
        "images": images,
        "batches": batches,
        "bias_correction": args.bias_correction == "on",
        "equalization": args.equalization,
        "calibration_target": args.calibration_target,
        "heads_gain_db": quantized.heads_gain_db,
        "positions": quantized.positions(),
        "outputs": [
            {"layer": head.layer, "tensor": head.tensor, "fix_point": head.fix_point} for head in quantized.heads
        ],
        "seconds": round(seconds, 2),
    }


def _header() -> dict[str, Any]:
    from roadslim import roadslim_version

    return {"schema_version": 1, "roadslim_version": roadslim_version()}


def _text(report: dict[str, Any]) -> str:
    outputs = "\n".join(
        f"  layer {output['layer']:>3}  {output['tensor']}  fix point {output['fix_point']}"
        for output in report["outputs"]
    )
    gain = report["heads_gain_db"]
    chosen = "" if gain is None else f"fix points by the outputs, which are {gain:.2f} dB nearer to float\n"
    return (
        f"{report['xmodel']}: int8 by {report['images']} images in {report['batches']} batches, "
        f"bias correction {'on' if report['bias_correction'] else 'off'}, {report['seconds']} s\n{chosen}"
        f"input fix point {report['positions']['input']}, outputs:\n{outputs}"
    )
