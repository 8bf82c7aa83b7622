"""`roadslim xmodel show | check | run`."""

from __future__ import annotations

import argparse
from pathlib import Path

_EPILOG = """examples:
  roadslim xmodel show model.xmodel
  roadslim xmodel check model.xmodel --board zcu104
  roadslim xmodel run model_int.xmodel --input picture.npy --tensors all --output tensors.npz"""


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the actions of `roadslim xmodel`."""
    parser.description = "Look into .xmodel files, check where they run, and run them on the software DPU."
    parser.epilog = _EPILOG
    actions = parser.add_subparsers(dest="action", required=True, metavar="show|check|run")

    def action(word: str, text: str, example: str) -> argparse.ArgumentParser:
        made = actions.add_parser(
            word,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"example:\n  roadslim {name} {word} {example}",
            formatter_class=parser.formatter_class,
        )
        made.add_argument("file", type=Path, metavar="FILE", help="an .xmodel, quantised or compiled")
        made.add_argument("--json", action="store_true", help="a JSON document on standard output")
        return made

    show = action("show", "subgraphs, tensors, fix points, fingerprint, workload, operators", "model.xmodel --json")
    show.add_argument("--layers", action="store_true", help="a table of the layers too (--json always has them)")
    show.set_defaults(run=_show)

    check = action("check", "will it run there; every reason why not", "model.xmodel --board zcu104")
    where = check.add_mutually_exclusive_group()
    where.add_argument("--board", default="zcu104", help="a board with one of AMD's images (default: zcu104)")
    where.add_argument("--fingerprint", type=fingerprint_argument, metavar="0x...", help="exactly this DPU")
    check.add_argument("--board-image", metavar="VERSION", help="Vitis AI version of its image (any it has)")
    check.set_defaults(run=_check)

    run = action("run", "run the model on the software DPU", "model_int.xmodel --input in.npy --output out.npz")
    run.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="[TENSOR=]IN.npy",
        help="float32 (quantised by the input's fix point) or int8, of the input's shape; once for each input",
    )
    run.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="OUT.npz",
        help="arrays by tensor name: int8; float32 from the CPU",
    )
    run.add_argument("--tensors", choices=("outputs", "all"), default="outputs", help="which tensors to write")
    run.add_argument(
        "--engine", choices=("auto", "onnxruntime", "numpy"), default="auto", help="both give equal integers"
    )
    run.add_argument(
        "--ops", type=Path, metavar="FOLDER", help="custom operators: TYPE.py files in AMD's vart_op_imp form"
    )
    run.add_argument("--threads", type=_threads, default=1, metavar="N", help="threads of onnxruntime (default: 1)")
    run.set_defaults(run=_run)


def fingerprint_argument(text: str) -> int:
    """The number of a --fingerprint. Raises argparse.ArgumentTypeError."""
    try:
        value = int(text, 16)
    except ValueError:
        value = 0
    if not 0 < value < 2**64:
        raise argparse.ArgumentTypeError(f"expected a fingerprint such as 0x101000056010407, found {text!r}")
    return value


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 256, found {text!r}")
    return int(text)


def _show(args: argparse.Namespace) -> int:
    from dpu.json_output import print_json
    from dpu.summary import summarise
    from dpu.summary_text import lines
    from dpu.xmodel import load

    document = summarise(load(args.file))
    if args.json:
        print_json(document)
        return 0
    print(f"{args.file}:")
    for line in lines(document, args.layers):
        print(line)
    return 0


def _check(args: argparse.Namespace) -> int:
    from dpu.architecture import board
    from dpu.compatibility import check, verdict_lines
    from dpu.errors import UnknownBoardError
    from dpu.json_output import print_json
    from dpu.xmodel import load

    on = None if args.fingerprint is not None else board(args.board)
    if args.board_image is not None:
        if on is None:
            raise UnknownBoardError("--board-image: expected with --board, found with --fingerprint. Leave one out.")
        on = on.with_image(args.board_image)
    verdict = check(load(args.file), on, args.fingerprint)
    target = f"DPU 0x{args.fingerprint:x}" if on is None else on.name
    if args.json:
        document = {
            "target": target,
            "runs": verdict.runs,
            "runs_in_application": verdict.runs_in_application,
            "images": list(verdict.images),
            "reasons": [vars(reason) for reason in verdict.reasons],
        }
        print_json(document)
    else:
        for line in verdict_lines(str(args.file), target, verdict):
            print(line)
    return 0 if verdict.runs else 1


def _run(args: argparse.Namespace) -> int:
    from dpu.run_command import run

    return run(args)
