"""The report page."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest

from bench.report import write_report
from bench.report.charts import class_chart, latency_chart, spread, trade_chart
from bench.report.headlines import headlines
from bench.results import AccuracyRecord, ClassRecord, ModelRecord, Result, key_of, now
from bench.statistics import summarise
from bench.summary import Summary, summarise_results
from board_app.core.errors import InputError


def _result(name: str, backend: str, position: int, ms: float, map50: float | None = None) -> Result:
    samples = (ms * np.random.default_rng(position).normal(1, 0.02, 70)).tolist()
    classes = {"D00": ClassRecord(ap50=map50 or 0, ap50_95=0.2, f1=0.5, truths=3)}
    accuracy = AccuracyRecord(map50=map50 or 0, per_class=classes, protocol="COCO", dataset="road", data="synthetic")
    return Result(
        roadslim_version="0",
        key=key_of(name=name, backend=backend, map50=map50),
        session="s",
        created=now(),
        metric="latency" if map50 is None else "accuracy",
        origin="measured",
        backend=backend,
        model=ModelRecord(name=name, sha256=name * 8, params=1000 // (position + 1), position=position),
        scope="network only",
        samples_ms=samples if map50 is None else [],
        statistics=summarise(samples) if map50 is None else None,
        accuracy=accuracy if map50 is not None else None,
    )


@pytest.fixture
def summary() -> Summary:
    """Two networks, times and accuracy."""
    return summarise_results(
        [
            _result("large & <slow>", "torch_cpu", 0, 10.0),
            _result("large & <slow>", "torch_cpu", 0, 0, 0.9),
            _result("small", "torch_cpu", 1, 2.5),
            _result("small", "torch_cpu", 1, 0, 0.88),
        ]
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with two figures, one of them also in unfinished stages."""
    unfinished = ("prune.partial", "prune.stopped-12ab34cd", "prune.stopped-12ab34cd-again")
    for stage in ("sparsify", "prune", *unfinished):
        (tmp_path / "run" / stage).mkdir(parents=True)
    (tmp_path / "run/sparsify/figure1_sparse_map.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    cv2.imwrite(str(tmp_path / "run/prune/figure3_pruned_layers.png"), np.zeros((4, 4, 3), np.uint8))
    for stage in unfinished:
        (tmp_path / "run" / stage / "figure3_pruned_layers.svg").write_text("half")
    return tmp_path / "run"


class _Sources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_needs_nothing_from_outside(summary: Summary, run: Path, tmp_path: Path) -> None:
    """Every image is in the page, no script, no link: it reads the same without a network."""
    cv2.imwrite(str(tmp_path / "wide.jpg"), np.zeros((30, 2000, 3), np.uint8))
    write_report(summary, tmp_path / "report.html", "A title", figures=[run], pictures=[tmp_path / "wide.jpg"])
    page = (tmp_path / "report.html").read_text()
    sources = _Sources()
    sources.feed(page)
    assert len(sources.found) == 3 + 2 + 1 and all(source.startswith("data:image/") for source in sources.found)
    assert not {"script", "link", "iframe"} & set(sources.tags)
    assert not re.search(r"url\(|@import|https?://", re.sub(r"data:[^\"]+", "", page))
    assert "Figure 1." in page and "Figure 3." in page and page.count("Figure 3. What") == 2  # alt and caption
    assert "large &amp; &lt;slow&gt;" in page and "<slow>" not in page
    picture = base64.b64decode(sources.found[-1].split(",")[1])
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape[1] == 960


def test_charts_are_drawn_from_results_alone(summary: Summary) -> None:
    """Each chart is an SVG, the same for the same results."""
    for draw in (latency_chart, class_chart, trade_chart):
        drawn = draw(summary)
        assert drawn is not None and b"<svg" in drawn and drawn == draw(summary)


def test_charts_without_figures_are_left_out(summary: Summary) -> None:
    """No times, no classes, a single network: no empty chart."""
    times = summarise_results([result for result in summary.results if result.metric == "latency"])
    accuracies = summarise_results([result for result in summary.results if result.metric == "accuracy"][:1])
    assert class_chart(times) is None and latency_chart(accuracies) is None and trade_chart(accuracies) is None


def test_charts_tell_the_origin(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated accuracy is marked as such beside a measured one."""
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # text as text
    last = summary.results[-1]
    int8 = last.model.model_copy(update={"precision": "int8", "quantised_from": "small" * 8, "sha256": "x"})
    simulated = last.model_copy(update={"model": int8, "origin": "simulated", "backend": "software_dpu"})
    mixed = summarise_results([*summary.results, simulated])
    trade, classes = trade_chart(mixed), class_chart(mixed)
    assert trade is not None and b"float, measured" in trade and b"int8, simulated" in trade
    assert classes is not None and b"small (measured)" in classes and b"small (int8, simulated)" in classes


def test_an_invalid_time_is_no_large_headline(summary: Summary, tmp_path: Path) -> None:
    """A speed-up from a disturbed measurement comes grey with its reason, after what is valid."""
    disturbed = [
        result.model_copy(update={"verdict": "INVALID", "reasons": ["drift: 20 %"]})
        if result.metric == "latency"
        else result
        for result in summary.results
    ]
    assert [headline.doubt for headline in headlines(summary)] == ["", "", ""]
    assert [headline.doubt for headline in headlines(summarise_results(disturbed))] == ["", "", "INVALID: drift"]
    write_report(summarise_results(disturbed), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().count('class="card doubtful"') == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], []), ([0, 0, 50], [0, 8, 50]), ([5, 1], [9, 1]), ([1, 2, 3], [1, 9, 17]), ([99, 100], [92, 100])],
)
def test_labels_keep_apart(values: list[float], expected: list[float]) -> None:
    """Labels of equal or near heights are moved apart, in any order, and stay in the chart."""
    assert spread(values, 8) == expected


def test_headlines_compare_the_largest_with_the_final(summary: Summary) -> None:
    """Parameters, points of mAP and speed-up, from the rows."""
    found = [(headline.value, headline.what) for headline in headlines(summary)]
    assert found[:2] == [("50.0 %", "fewer parameters"), ("−2.0", "points of mAP50")]
    assert found[2][1] == "faster on torch CPU" and found[2][0].startswith(("3.9", "4.0", "4.1"))


def test_says_which_file_is_wrong(summary: Summary, tmp_path: Path) -> None:
    """A folder without figures and a picture that is none are errors, and no page is written."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    page = tmp_path / "report.html"
    with pytest.raises(InputError, match=r"expected figure\*"):
        write_report(summary, page, figures=[tmp_path / "empty"])
    with pytest.raises(InputError, match="expected a run folder"):
        write_report(summary, page, figures=[tmp_path / "no"])
    with pytest.raises(InputError, match="expected a picture"):
        write_report(summary, page, pictures=[tmp_path / "text.png"])
    assert not page.exists()
