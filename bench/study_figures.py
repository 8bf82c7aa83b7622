"""What a study comes to, beside the original work's result: a Markdown table from its summary.

    python -m bench.study_figures runs/study/summary.json

The summary is `roadslim bench table`'s; its rows have the names of configs/study-bench.yaml. Accuracies are of the test
split, times of the machine that the table names, DPU times predicted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from board_app.core.errors import InputError

Row = dict[str, Any]
UNPRUNED, SPARSE, CUT, TUNED = "trained", "sparse", "straight after pruning", "fine-tuned"
PUBLISHED_SPARSE, PUBLISHED_CUT = "sparse the published way", "straight after pruning the published way"
_TIMES = (("torch CPU", "torch_cpu"), ("ONNX Runtime CPU", "onnxruntime_cpu"), ("ZCU104 DPU, predicted", "dpu"))


def figures(rows: list[Row]) -> list[tuple[str, str, str]]:
    """What, how much, and how much in the original work; of the rows of a summary.

    Raises:
        InputError: a network of the study is missing.
    """
    by_name = {row["model"]: row for row in rows}
    missing = [name for name in (UNPRUNED, SPARSE, CUT, TUNED, PUBLISHED_SPARSE, PUBLISHED_CUT) if name not in by_name]
    if missing:
        raise InputError(
            f"expected a study's rows in the summary, found none of {', '.join(missing)}. Run `make study`"
        )
    unpruned, tuned = by_name[UNPRUNED], by_name[TUNED]
    fewer = 100 * (1 - tuned["params"] / unpruned["params"])
    points = 100 * (tuned["map50_int8"] - unpruned["map50_float"])
    table = [
        ("parameters", f"{unpruned['params']:,} to {tuned['params']:,}, {fewer:.1f} % fewer", "94.7 % fewer"),
        ("mAP50, int8 against unpruned float", f"{points:+.1f} points", "-1.1 points, float"),
        ("mAP50 kept straight after pruning", _kept(by_name[CUT], by_name[SPARSE]), "-"),
        ("the same, the published way", _kept(by_name[PUBLISHED_CUT], by_name[PUBLISHED_SPARSE]), "none"),
    ]
    for label, backend in _TIMES:
        before, after = (row["latency_ms"][backend]["p50"] for row in (unpruned, tuned))
        said = "6.2 times on an RTX 2080 Ti" if backend == "torch_cpu" else "-"
        table.append((label, f"{before:.2f} to {after:.2f} ms, {before / after:.2f} times faster", said))
    return table


def _kept(cut: Row, sparse: Row) -> str:
    before, after = sparse["map50_float"], cut["map50_float"]
    share = f"{100 * after / before:.0f} % of it" if before else "nothing to keep"
    return f"{100 * before:.1f} to {100 * after:.1f} %, {share}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("summary", type=Path, help="summary.json of a study")
    summary = json.loads(parser.parse_args().summary.read_text(encoding="utf-8"))
    print("| | this study | the original work |\n| --- | --- | --- |")
    for row in figures(summary["rows"]):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
