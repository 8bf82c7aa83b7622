"""The page: what goes into the template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment as Templates
from jinja2 import PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.environment import Environment
from bench.report.charts import class_chart, latency_chart, trade_chart
from bench.report.embedding import Embedded, data_uri, figures_of, pictures_of
from bench.report.headlines import headlines
from bench.results import Result, now
from bench.summary import Summary, label_of
from bench.table import LEGEND, html_table, main_grid, published_grid, warning_of
from board_app.core.atomic_file import write_text
from roadslim import roadslim_version

_CHARTS: tuple[tuple[str, Callable[[Summary], bytes | None]], ...] = (
    ("mAP50 against parameters, in the order of the stages.", trade_chart),
    ("Every sample of the time for one picture.", latency_chart),
    ("AP50 per class.", class_chart),
)


def write_report(
    summary: Summary,
    path: Path,
    title: str = "Roadslim report",
    figures: Sequence[Path] = (),
    pictures: Sequence[Path] = (),
) -> None:
    """Write the self-contained page.

    Args:
        figures: run folders whose figures 1 to 4 go in.
        pictures: annotated pictures, or folders of them.
    Raises:
        InputError: a folder or picture is missing or wrong.
        OSError: the page cannot be written; what was there is as it was.
    """
    charts = [(caption, draw(summary)) for caption, draw in _CHARTS]
    templates = Templates(loader=PackageLoader("bench", "report"), autoescape=True, undefined=StrictUndefined)
    published = published_grid(summary)
    page = templates.get_template("report.html.j2").render(
        title=title,
        created=now().strftime("%Y-%m-%d %H:%M UTC"),
        version=roadslim_version(),
        data=summary.data,
        warning=warning_of(summary),
        headlines=headlines(summary),
        legend=LEGEND,
        table=Markup(html_table(main_grid(summary))),  # noqa: S704  every cell is escaped there
        published_title=published.title if published else None,
        published=Markup(html_table(published)) if published else None,  # noqa: S704
        charts=[Embedded(data_uri(drawn, ".svg"), caption) for caption, drawn in charts if drawn],
        figures=figures_of(figures),
        pictures=pictures_of(pictures),
        conditions=summary.conditions,
        doubts=summary.doubts,
        environment=_environment(summary.results),
        rows=[_row(result) for result in summary.results if result.origin != "published"],
    )
    write_text(path, page)


def _environment(results: Sequence[Result]) -> dict[str, str]:
    """The machine and its software, every value that occurs once: results of several runs may come together."""
    found: dict[str, dict[str, None]] = {}
    for result in results:
        for name, fact in _facts(result.environment) if result.environment else ():
            found.setdefault(name, {})[fact] = None
    return {name: " · ".join(facts) for name, facts in found.items()}


def _facts(machine: Environment) -> list[tuple[str, str]]:
    return [
        ("processor", f"{machine.cpu_model}, {machine.cpu_cores} cores usable"),
        ("governor", machine.cpu_governor or "not told"),
        ("memory", f"{machine.memory_gb:g} GB" if machine.memory_gb else "not told"),
        ("GPU", machine.gpu or "none"),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("libraries", ", ".join(f"{name} {version}" for name, version in machine.libraries.items())),
        ("commit", machine.git_commit or "not a checkout"),
    ]


def _row(result: Result) -> dict[str, str]:
    """One line of the table of all results."""
    statistics, accuracy = result.statistics, result.accuracy
    figure = f"mAP50 {100 * accuracy.map50:.2f} %" if accuracy else "–"
    if statistics:
        figure = f"p50 {statistics.p50:.3f} ms"
    return {
        "model": result.model.name,
        "backend": label_of(result.backend),
        "figure": figure,
        "p90": f"{statistics.p90:.3f}" if statistics and statistics.p90 is not None else "–",
        "spread": f"{statistics.min:.3f} – {statistics.max:.3f}" if statistics and statistics.n > 1 else "–",
        "n": str(statistics.n if statistics else accuracy.images if accuracy else 0),
        "origin": result.origin,
        "verdict": result.verdict,
        "sha256": (result.model.sha256 or "")[:12],
        "created": result.created.strftime("%Y-%m-%d %H:%M"),
    }
