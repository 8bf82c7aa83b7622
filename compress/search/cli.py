"""`roadslim search`: a Pareto front of mAP50 against predicted DPU time, by any number of workers."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from board_app.core.errors import InputError, UsageError
from compress.cli import named_in, print_config
from compress.stage_flags import add_print_config


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `search`."""
    parser.description = (
        "Vary what the section `search` of CONFIG names, run every trial as a run of its own in runs/NAME/search/, and "
        "find the Pareto front of mAP50 against predicted DPU time. The same command on more processes or machines, "
        "with the same --storage, adds workers; killed ones' trials are taken up again."
    )
    parser.epilog = (
        "examples:\n"
        "  roadslim search configs/search-demo.yaml --trials 12\n"
        "  roadslim search CONFIG --trials 200 --storage postgresql://me@server/search --choose max-map --max-ms 5"
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file with a section `search`")
    parser.add_argument(
        "--trials", type=int, required=True, metavar="N", help="finished trials in all, of all workers and earlier runs"
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="where the workers meet: postgresql://USER@HOST/DATABASE, sqlite:///FILE, or the path of a journal file "
        "(default: runs/NAME/search/journal.log); a password is better in PGPASSWORD or ~/.pgpass",
    )
    parser.add_argument(
        "--choose",
        choices=("knee", "max-map"),
        default="knee",
        help="the point that becomes chosen.yaml: where the front bends most, or the most accurate",
    )
    parser.add_argument("--max-ms", type=float, metavar="MS", help="choose among points up to this predicted DPU time")
    parser.add_argument("--json", action="store_true", help="print search.json")
    add_print_config(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    for flag, value in (("--trials", args.trials), ("--max-ms", args.max_ms)):
        if value is not None and value <= 0:
            raise UsageError(f"{flag}: expected a number above 0, found {value}. Correct it")
    from compress.config import load_config

    config = load_config(args.config)
    if args.print_config:
        return print_config(config, args)
    from compress.search.loop import default_storage, search
    from compress.search.report import Choice, write_report
    from compress.search.storage import reachable
    from compress.search.trial import run_trial
    from compress.stages.run import Run
    from compress.training.processes import check_alone

    check_alone("search", "Start each worker without torchrun or accelerate: `roadslim search CONFIG --storage URL`")
    choice = Choice(args.choose, args.max_ms)
    storage = args.storage or default_storage(config)
    with named_in(args.config):
        study = search(
            config,
            args.trials,
            storage,
            Run(config).data_hashes,
            run_trial,
            on_result=lambda study: write_report(config, study, choice),
        )
    with reachable(storage):
        document = write_report(config, study, choice)
    if args.json:
        print(json.dumps(document, indent=1))
    else:
        print("\n".join(_lines(document)))
    if document["chosen"] is None:
        fastest = min(row["predicted_dpu_ms"] for row in document["trials"] if row["state"] == "finished")
        raise InputError(
            f"--max-ms {args.max_ms:g}: expected a trial as fast, found {fastest:.2f} ms as the fastest. "
            "Raise it, or run more --trials"
        )
    print(
        f"{document['chosen']['config']}: run it with all epochs: roadslim compress {document['chosen']['config']}",
        file=sys.stderr,
    )
    return 0


def _lines(document: dict[str, Any]) -> list[str]:
    """The front as a table, and what became of the other trials."""
    from compress.search.space import described

    trials = {row["number"]: row for row in document["trials"]}
    lines = [f"{'trial':>5} {'mAP50 ' + document['evaluate']:>12} {'DPU ms':>8} {'parameters':>12}  settings"]
    for number in document["front"]:
        row = trials[number]
        mark = "  <- chosen" if document["chosen"] and document["chosen"]["number"] == number else ""
        lines.append(
            f"{number:>5} {100 * row['map50']:>10.1f} % {row['predicted_dpu_ms']:>8.2f} {row['params']:>12,}  "
            f"{described(row['settings'])}{mark}"
        )
    counts = Counter(row["state"] for row in trials.values())
    lines += [
        "",
        ", ".join(f"{count} {state}" for state, count in counts.items())
        + f"; DPU ms predicted for {document['board']}",
    ]
    return lines
