"""The summary table as text cells, and its forms: terminal (rich), Markdown, HTML."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import IO

from bench.results import Origin
from bench.summary import Figure, Latency, Row, Summary, label_of

LETTERS: dict[Origin, str] = {"measured": "m", "simulated": "s", "predicted": "p", "published": "pub"}
LEGEND = (
    "m measured here · s simulated (software DPU, the DPU's integers) · p predicted (latency model) · pub published "
    "by others · ! INVALID, see below"
)
_NONE = "–"
_LOG_WIDTH = 150  # columns where there is no terminal
_FIRST_COLUMNS = 7  # up to the int8 mAP; times come after them
_GAP = 2  # columns of the terminal between two of the table


@dataclass(frozen=True)
class Grid:
    """A table of text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def title_of(summary: Summary) -> str:
    """What the table is about, with the pictures that the accuracy is of."""
    return "Road-damage detectors on " + ("; ".join(summary.data) if summary.data else "no dataset: times only")


def warning_of(summary: Summary) -> str | None:
    """What must not be read into the accuracy."""
    if any("synthetic" in data.lower() for data in summary.data):
        return "Synthetic road scenes, not real roads: the mAP compares these networks with each other, nothing more."
    return None


def main_grid(summary: Summary) -> Grid:
    """Our networks."""
    times = [f"{label_of(backend)} ms" for backend in summary.backends]
    header = ("network", "input", "parameters", "fewer", "GMACs", "mAP50 float", "mAP50 int8", *times)
    rows = tuple(
        (
            *_start(row),
            f"{row.record.gmacs:.3f}" if row.record.gmacs is not None else _NONE,
            _share(row.map50_float),
            _share(row.map50_int8),
            *(_time(row.latency_ms.get(backend)) for backend in summary.backends),
        )
        for row in summary.rows
    )
    return Grid(title_of(summary), header, rows)


def published_grid(summary: Summary) -> Grid | None:
    """The original work's networks, apart: other pictures, another machine."""
    if not summary.published:
        return None
    backends = sorted({backend for row in summary.published for backend in row.latency_ms})
    header = ("network", "input", "parameters", "fewer", "mAP50", *(f"{label_of(b)} ms" for b in backends))
    rows = tuple(
        (*_start(row), _share(row.map50_float), *(_time(row.latency_ms.get(backend)) for backend in backends))
        for row in summary.published
    )
    return Grid("For comparison, published by the original work: its own pictures, its own machine", header, rows)


def notes_of(summary: Summary) -> list[str]:
    """What stands under the table: legend, warning, conditions, doubts."""
    warning = warning_of(summary)
    doubts = [f"! INVALID: {'; '.join(summary.doubts)}."] if summary.doubts else []
    return [LEGEND + ".", *([warning] if warning else []), *doubts, *summary.conditions]


def _start(row: Row) -> tuple[str, str, str, str]:
    size = row.record.input_hw
    return (
        row.model,
        f"{size[0]}x{size[1]}" if size else _NONE,
        f"{row.params:,}" if row.params else _NONE,
        f"{100 * row.params_fewer:.1f} %" if row.params_fewer else _NONE,
    )


def _share(figure: Figure | None) -> str:
    return f"{100 * figure.value:.1f} % {LETTERS[figure.origin]}" if figure else _NONE


def _time(latency: Latency | None) -> str:
    if latency is None:
        return _NONE
    invalid = " !" if latency.verdict == "INVALID" else ""
    return f"{three_digits(latency.p50)} {LETTERS[latency.origin]}{invalid}"


def three_digits(value: float) -> str:
    """A time with three digits, or whole above 100."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def print_table(summary: Summary, stream: IO[str] | None = None) -> None:
    """Both tables and the notes with rich; times in a table of their own where the terminal is narrow."""
    from rich.console import Console

    stream = stream or sys.stdout
    console = Console(file=stream, width=None if stream.isatty() else _LOG_WIDTH, highlight=False)
    for grid in (main_grid(summary), published_grid(summary)):
        for part in _fitting(grid, console.width) if grid else ():
            console.print(_rich_table(part), "")
    for note in notes_of(summary):
        console.print(note, style="dim" if stream.isatty() else None, markup=False)


def _fitting(grid: Grid, width: int) -> list[Grid]:
    """The grid, or where it is wider than the terminal its first columns and then the names with the others."""
    lines = [tuple(max(_two_lines(cell).split("\n"), key=len) for cell in grid.header), *grid.rows]
    columns = [max(len(line[index]) for line in lines) for index in range(len(grid.header))]
    if sum(columns) + _GAP * len(columns) <= width or len(columns) <= _FIRST_COLUMNS:
        return [grid]
    rest = [(row[0], *row[_FIRST_COLUMNS:]) for row in grid.rows]
    return [
        Grid(grid.title, grid.header[:_FIRST_COLUMNS], tuple(row[:_FIRST_COLUMNS] for row in grid.rows)),
        Grid("", (grid.header[0], *grid.header[_FIRST_COLUMNS:]), tuple(rest)),
    ]


def _two_lines(header: str) -> str:
    """Broken at the space nearest to the middle."""
    spaces = [index for index, letter in enumerate(header) if letter == " "]
    if not spaces:
        return header
    middle = min(spaces, key=lambda index: abs(index - len(header) / 2))
    return f"{header[:middle]}\n{header[middle + 1 :]}"


def _rich_table(grid: Grid) -> object:
    from rich import box
    from rich.table import Table

    title = grid.title or None
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for index, name in enumerate(grid.header):
        table.add_column(_two_lines(name), justify="right" if index else "left", no_wrap=True, vertical="bottom")
    for row in grid.rows:
        table.add_row(*row)
    return table


def markdown(summary: Summary) -> str:
    """Both tables and the notes as GitHub Markdown."""
    parts = []
    for grid in (main_grid(summary), published_grid(summary)):
        if grid:
            lines = [grid.header, ("---", *("---:" for _ in grid.header[1:])), *grid.rows]
            table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
            parts.append(f"**{grid.title}**\n\n{table}")
    parts.append("\n".join(f"- {note}" for note in notes_of(summary)))
    return "\n\n".join(parts) + "\n"


def html_table(grid: Grid) -> str:
    """One table as HTML, for a page that has its own style."""
    head = "".join(f"<th scope='col'>{_two_lines(escape(cell)).replace(chr(10), '<br>')}</th>" for cell in grid.header)
    body = "\n".join(
        f"<tr><th scope='row'>{escape(row[0])}</th>" + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in grid.rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def html_page(summary: Summary) -> str:
    """A small page with both tables and the notes."""
    grids: Sequence[Grid | None] = (main_grid(summary), published_grid(summary))
    tables = "\n".join(f"<h2>{escape(grid.title)}</h2>\n<div>{html_table(grid)}</div>" for grid in grids if grid)
    notes = "\n".join(f"<li>{escape(note)}</li>" for note in notes_of(summary))
    return (
        "<!doctype html>\n<html lang='en'><meta charset='utf-8'><title>Roadslim: summary table</title>\n"
        "<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}"
        "h2{font-size:1.05rem}table{border-collapse:collapse}th,td{padding:.35rem .7rem;border-bottom:1px solid #ddd}"
        "div{overflow-x:auto}td,th{white-space:nowrap;vertical-align:bottom}td,th:not(:first-child){text-align:right}th:first-child{text-align:left}li{color:#555}</style>\n"
        f"{tables}\n<ul>\n{notes}\n</ul></html>\n"
    )
