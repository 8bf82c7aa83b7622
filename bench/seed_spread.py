"""How far runs that differ in their seed alone lie apart: a Markdown table of mAP50 after every stage.

    python -m bench.seed_spread runs/a runs/b runs/c

Each is a run folder whose quantize stage is finished. mAP50 is of the validation split; that of the int8 network is
simulated in the DPU's arithmetic.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from board_app.core.errors import InputError

LAST = "quantize"


def points_of(run: Path) -> dict[str, float]:
    """mAP50 in per cent after every stage, the int8 network's after `quantize`, and what is between last and first.

    Raises:
        InputError: there is no such folder, it has no finished quantize stage, or its summary is damaged.
    """
    summary = run / "summary.json"
    if not summary.is_file():
        raise InputError(f"expected the folder of a run, found no {summary}. Correct the path")
    try:
        rows = {row["model"]: row for row in json.loads(summary.read_text(encoding="utf-8"))["rows"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{summary}: expected a run's summary, found none ({error}). Write it again: `roadslim compress CONFIG`"
        ) from error
    if LAST not in rows:
        found = ", ".join(rows) or "none"
        raise InputError(f"{run}: expected a run with all stages to {LAST}, found {found}. Finish it")
    rows.pop("bundle", None)
    points = {stage: 100 * row["map50_int8" if stage == LAST else "map50_float"] for stage, row in rows.items()}
    first = next(iter(points))
    return points | {f"{LAST} - {first}": points[LAST] - points[first]}


def table(runs: Sequence[Path]) -> list[str]:
    """The lines: a row for every run, then mean and standard deviation.

    Raises:
        InputError: a run is not finished, or has other stages than the first one.
    """
    named = [points_of(run) for run in runs]
    for run, points_of_run in zip(runs, named, strict=True):
        if points_of_run.keys() != named[0].keys():
            expected, found = (", ".join(list(each)[:-1]) for each in (named[0], points_of_run))
            raise InputError(
                f"{run}: expected the stages of {runs[0]} ({expected}), found {found}. Name runs of the same stages"
            )
    points = [list(points_of_run.values()) for points_of_run in named]
    rows = [(str(run), values) for run, values in zip(runs, points, strict=True)]
    rows.append(("mean", [statistics.mean(column) for column in zip(*points, strict=True)]))
    if len(runs) > 1:
        rows.append(("standard deviation", [statistics.stdev(column) for column in zip(*points, strict=True)]))
    lines = [f"| mAP50, % | {' | '.join(named[0])} |", "| --- |" + " ---: |" * len(named[0])]
    return lines + [f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |" for name, values in rows]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    try:
        print("\n".join(table(parser.parse_args().runs)))
    except InputError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
