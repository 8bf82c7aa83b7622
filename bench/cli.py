"""`roadslim evaluate`, `roadslim predict` and `roadslim bench run | table | report`."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from board_app.core.atomic_file import write_text
from board_app.core.errors import UsageError
from compress.data.wanted_flags import add_wanted, wanted_of

if TYPE_CHECKING:
    from bench.summary import Summary

log = logging.getLogger(__name__)


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of one of the three subcommands."""
    {"evaluate": _add_evaluate, "predict": _add_predict, "bench": _add_bench}[name](parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "mAP50, mAP50-95 and F1 of a model on a dataset, with the board's own letterbox, decoding and NMS. MODEL is a "
        "stage folder of a run, a .bundle, .onnx or .xmodel; Darknet files go by --cfg and --weights."
    )
    parser.epilog = (
        "examples:\n  roadslim evaluate runs/demo/distill data/road --split test\n"
        "  roadslim evaluate --cfg yolov3.cfg --weights yolov3.weights data/road --json"
    )
    parser.usage = (
        "roadslim evaluate [MODEL] DATASET [--cfg CFG] [--weights WEIGHTS] [--split SPLIT]\n"
        "       [--map OLD=NEW ...] [--ignore CLASS ...] [--countries NAME ...]\n"
        "       [--backend BACKEND] [--results DIR] [--json]"
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="[MODEL] DATASET", help="the model and the dataset")
    parser.add_argument("--cfg", type=Path, help="Darknet cfg: with --weights, or the anchors of an .onnx or .xmodel")
    parser.add_argument("--weights", type=Path, help="Darknet weights that belong to --cfg")
    parser.add_argument("--split", help="of the dataset (test, else val, else all of it)")
    add_wanted(parser)
    parser.add_argument("--backend", help="torch_cpu, onnxruntime_cpu, torch_cuda or software_dpu (as the file needs)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="write the result there; what is there is kept")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    parser.set_defaults(run=run_evaluate, intermixed=True)


def run_evaluate(args: argparse.Namespace) -> int:
    """Evaluate one model on one dataset."""
    from bench.evaluate import evaluate_document, evaluate_model, text_of
    from bench.models import open_model

    *named, dataset = args.paths
    if len(named) > 1:
        raise UsageError(f"expected MODEL and DATASET, found {len(args.paths)} paths. Quote paths with spaces.")
    model = open_model(named[0] if named else None, args.cfg, args.weights)
    result = evaluate_model(model, dataset, args.split, wanted_of(args), args.backend, args.results)
    print(_json(evaluate_document(result)) if args.json else text_of(result))
    return 0


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Predicted DPU time of a network: one core, end to end, all cores, and where the time goes. MODEL is a .cfg, a "
        "stage folder of a run, an .xmodel, a .bundle, or a layer table in JSON. Nothing is run and no board is needed."
    )
    parser.epilog = (
        "examples:\n  roadslim predict runs/demo/distill --layers\n"
        "  roadslim predict yolov3.cfg --size 416 416 --board kv260 --json\n"
        "  roadslim predict small.bundle --dpu B1024 --mhz 200 --cores 1"
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help=".cfg, stage folder, .xmodel, .bundle or .json")
    parser.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="another input size (of a cfg)")
    parser.add_argument("--board", default="zcu104", help="zcu104, kv260, zcu102 (zcu104)")
    parser.add_argument("--dpu", metavar="SIZE", help="B512 to B4096, instead of the board's")
    parser.add_argument("--mhz", type=float, metavar="N", help="clock, instead of the board's")
    parser.add_argument("--cores", type=int, metavar="N", help="DPU cores, instead of the board's")
    parser.add_argument(
        "--isa", type=int, choices=(0, 1), help="0 for Vitis AI up to 2.0, 1 for later (the file's, else 1)"
    )
    parser.add_argument("--name", help="one network of a layer table with several")
    parser.add_argument("--layers", action="store_true", help="every layer, not only the slowest")
    parser.add_argument("--json", action="store_true", help="everything as JSON on stdout")
    parser.set_defaults(run=run_predict)


def run_predict(args: argparse.Namespace) -> int:
    """Predict one network, or those of a table."""
    from bench.predict import board_of, chosen, document_of, networks_of, text_of

    board = board_of(args.board, args.dpu, args.mhz, args.cores)
    networks = chosen(networks_of(args.model, tuple(args.size) if args.size else None), args.name)
    if args.isa is not None:
        networks = [replace(network, isa=args.isa) for network in networks]
    if args.json:
        print(_json(document_of(networks, board)))
    else:
        print("\n\n".join(text_of(network, network.predict(board), args.layers) for network in networks))
    return 0


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.description = "Measure detectors on backends, one result JSON per measurement, and show the results."
    parser.epilog = (
        "examples:\n  roadslim bench run configs/demo-bench.yaml --out runs/demo/bench\n"
        "  roadslim bench table runs/demo/bench --markdown table.md\n"
        "  roadslim bench report runs/demo/bench --figures runs/demo --out report.html"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="run | table | report")
    options: dict[str, Any] = {"formatter_class": parser.formatter_class, "allow_abbrev": False}

    run = commands.add_parser(
        "run",
        help="measure what a plan asks for",
        description="Measure what PLAN asks for. What was measured before under the same conditions is kept.",
        epilog="example:\n  roadslim bench run configs/demo-bench.yaml --out runs/demo/bench",
        **options,
    )
    run.add_argument("plan", type=Path, metavar="PLAN", help="YAML: models, dataset, backends")
    run.add_argument("--out", type=Path, metavar="DIR", help="folder of results (runs/bench/NAME)")
    run.add_argument("--fresh", action="store_true", help="measure everything again")
    run.add_argument("--json", action="store_true", help="the summary table as JSON on stdout")
    run.set_defaults(run=run_bench)

    table = commands.add_parser(
        "table",
        help="the summary table",
        description="The summary table of results, with the origin of every figure.",
        epilog="example:\n  roadslim bench table runs/demo/bench --markdown table.md --html table.html",
        **options,
    )
    table.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help="result files or folders of them")
    table.add_argument("--json", action="store_true", help="the rows as JSON on stdout")
    table.add_argument("--markdown", type=Path, metavar="F", help="write it as Markdown")
    table.add_argument("--html", type=Path, metavar="F", help="write it as an HTML page")
    table.add_argument("--summary", type=Path, metavar="F", help="write the JSON of --json to a file")
    table.set_defaults(run=run_table)

    report = commands.add_parser(
        "report",
        help="the HTML report",
        description="One self-contained HTML page: table, times, classes, the run's figures, how all was obtained.",
        epilog="example:\n  roadslim bench report runs/demo/bench --figures runs/demo --out report.html",
        **options,
    )
    report.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help="result files or folders of them")
    report.add_argument("--out", type=Path, required=True, metavar="F", help="the page")
    report.add_argument("--title", default="Roadslim report", help="its title (%(default)s)")
    report.add_argument("--figures", nargs="+", type=Path, default=(), metavar="DIR", help="run folders with figures")
    report.add_argument(
        "--pictures", nargs="+", type=Path, default=(), metavar="F", help="annotated pictures or folders"
    )
    report.set_defaults(run=run_report)


def run_bench(args: argparse.Namespace) -> int:
    """Measure a plan, then show the table."""
    from bench.plan import load_plan
    from bench.run import run_plan
    from bench.summary import summarise_results

    plan = load_plan(args.plan)
    out = args.out or Path("runs/bench") / plan.name
    summary = summarise_results(run_plan(plan, out, args.fresh))
    _show(summary, args.json)
    log.info("results in %s", out)
    return 0


def run_table(args: argparse.Namespace) -> int:
    """Show the table of results, and write its other forms."""
    from bench.results import load_all
    from bench.summary import summarise_results
    from bench.table import html_page, markdown

    summary = summarise_results(load_all(args.results))
    forms: list[tuple[Path | None, Callable[[], str]]] = [
        (args.markdown, lambda: markdown(summary)),
        (args.html, lambda: html_page(summary)),
        (args.summary, lambda: _json(summary.document()) + "\n"),
    ]
    for path, form in forms:
        if path:
            write_text(path, form())
    _show(summary, args.json)
    return 0


def run_report(args: argparse.Namespace) -> int:
    """Write the report."""
    from bench.report import write_report
    from bench.results import load_all
    from bench.summary import summarise_results

    summary = summarise_results(load_all(args.results))
    write_report(summary, args.out, title=args.title, figures=args.figures, pictures=args.pictures)
    print(args.out)
    return 0


def _show(summary: Summary, as_json: bool) -> None:
    from bench.table import print_table

    if as_json:
        print(_json(summary.document()))
    else:
        print_table(summary)


def _json(document: dict[str, Any]) -> str:
    from roadslim import roadslim_version

    return json.dumps({"schema_version": 1, "roadslim_version": roadslim_version(), **document}, indent=1)
