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

STAGES = ("train", "sparsify", "prune", "distill", "quantize")
LOST = "quantize - train"


def points_of(run: Path) -> dict[str, float]:
    """mAP50 in per cent after every stage, the int8 network's after `quantize`, and what is between last and first.

    Raises:
        InputError: the folder has no summary, or a stage is missing in it.
    """
    path = run / "summary.json"
    if not path.is_file():
        raise InputError(
            f"expected a finished run at {run}, found no summary.json in it. Run `roadslim compress` first"
        )
    rows = {row["model"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    missing = [stage for stage in STAGES if stage not in rows]
    if missing:
        raise InputError(
            f"{path}: expected every stage to quantize, found none of {', '.join(missing)}. Finish the run"
        )
    points = {stage: 100 * rows[stage]["map50_int8" if stage == "quantize" else "map50_float"] for stage in STAGES}
    return points | {LOST: points["quantize"] - points["train"]}


def table(runs: Sequence[Path]) -> list[str]:
    """The lines: a row for every run, then mean and standard deviation."""
    rows = {run.name: points_of(run) for run in runs}
    columns = {column: [row[column] for row in rows.values()] for column in (*STAGES, LOST)}
    rows["mean"] = {column: statistics.mean(values) for column, values in columns.items()}
    if len(runs) > 1:
        rows["standard deviation"] = {column: statistics.stdev(values) for column, values in columns.items()}
    lines = [f"| mAP50, % | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
    return lines + [
        f"| {name} | {' | '.join(f'{row[column]:.1f}' for column in columns)} |" for name, row in rows.items()
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    print("\n".join(table(parser.parse_args().runs)))


if __name__ == "__main__":
    main()
