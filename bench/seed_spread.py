"""How far runs that differ in their seed alone lie apart: a Markdown table of mAP50 after every stage.

    python -m bench.seed_spread runs/a runs/b runs/c

Each is a run folder whose quantize stage is finished. mAP50 is of the validation split; that of the int8 network is
simulated in the DPU's arithmetic.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from board_app.core.errors import InputError
from compress.stages import STAGE_NAMES
from compress.stages.folder import StageFolder

STAGES = STAGE_NAMES[: STAGE_NAMES.index("quantize") + 1]


def points_of(run: Path) -> list[float]:
    """mAP50 in per cent after every stage, the int8 network's after `quantize`, and what is between last and first.

    Raises:
        InputError: there is no such folder, or a stage in it is not finished.
    """
    if not run.is_dir():
        raise InputError(f"expected the folder of a run, found none at {run}. Correct the path")
    points = [100 * float(StageFolder(run, stage).results()["map50"]) for stage in STAGES]
    return [*points, points[-1] - points[0]]


def table(runs: Sequence[Path]) -> list[str]:
    """The lines: a row for every run, then mean and standard deviation."""
    points = [points_of(run) for run in runs]
    rows = [(str(run), values) for run, values in zip(runs, points, strict=True)]
    rows.append(("mean", [statistics.mean(column) for column in zip(*points, strict=True)]))
    if len(runs) > 1:
        rows.append(("standard deviation", [statistics.stdev(column) for column in zip(*points, strict=True)]))
    lines = [f"| mAP50, % | {' | '.join(STAGES)} | quantize - train |", "| --- |" + " ---: |" * (len(STAGES) + 1)]
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
