"""The summary table in all its forms."""

from __future__ import annotations

import io
from typing import Any

import pytest

from bench.published import published_results
from bench.results import AccuracyRecord, ModelRecord, Result, key_of, now
from bench.statistics import summarise
from bench.summary import Summary, label_of, summarise_results
from bench.table import html_page, markdown, print_table

WEIGHTS = {"unpruned": "aa" * 32, "distilled": "bb" * 32}


def _result(name: str, backend: str, figure: float, **more: Any) -> Result:
    position = list(WEIGHTS).index(name) if name in WEIGHTS else 9
    origin = {"software_dpu": "simulated", "dpu": "predicted"}.get(backend, "measured")
    model = {"sha256": WEIGHTS.get(name), "params": 1_000_000 if name == "unpruned" else 100_000, "gmacs": 0.5}
    part = {"position": position, "input_hw": (160, 224)} | model | more.pop("model", {})
    metric = more.pop("metric", "latency")
    fields: dict[str, Any] = {"samples_ms": [figure] * 80, "statistics": summarise([figure] * 80)}
    if metric == "accuracy":
        accuracy = AccuracyRecord(map50=figure, protocol="COCO", dataset="road", images=5, data="synthetic road scenes")
        fields = {"accuracy": accuracy}
    return Result(
        roadslim_version="0",
        key=key_of(name=name, backend=backend, metric=metric),
        session="s",
        created=now(),
        metric=metric,
        origin=origin,
        backend=backend,
        model=ModelRecord(name=name, **part),
        scope="network only",
        settings={"threads": 1, "warm_up": 5},
        **(fields | more),
    )


@pytest.fixture
def summary() -> Summary:
    """An unpruned and a distilled network, the latter's bundle, and the original's rows."""
    bundle = {"precision": "int8", "quantised_from": WEIGHTS["distilled"], "sha256": "cc" * 32}
    return summarise_results(
        [
            *published_results("0"),
            _result("bundle", "software_dpu", 0.874, metric="accuracy", model=bundle),
            _result("bundle", "dpu", 0.75, model=bundle),
            _result("distilled", "dpu", 0.5),
            _result("distilled", "torch_cpu", 5.0, verdict="INVALID", reasons=["drift: the last third is slower"]),
            _result("distilled", "torch_cpu", 0.88, metric="accuracy"),
            _result("unpruned", "torch_cpu", 123.4),
            _result("unpruned", "torch_cpu", 0.9, metric="accuracy"),
        ]
    )


def test_json_has_the_fixed_fields(summary: Summary) -> None:
    """Rows have the fields that other programs read; the published rows are apart."""
    document = summary.document()
    assert document["schema_version"] == 1 and "roadslim_version" in document
    row = document["rows"][1]
    assert row["model"] == "distilled" and row["input_hw"] == [160, 224] and row["sha256"] == WEIGHTS["distilled"]
    assert (row["params"], row["gmacs"], row["map50_float"], row["map50_int8"]) == (100_000, 0.5, 0.88, 0.874)
    assert row["latency_ms"]["torch_cpu"] == {"p50": 5.0, "p90": 5.0, "origin": "measured", "verdict": "INVALID"}
    assert row["latency_ms"]["dpu"] == {"p50": 0.75, "p90": 0.75, "origin": "predicted", "verdict": "VALID"}
    assert [row["params"] for row in document["published_rows"]] == [61_550_659, 3_251_639]
    assert "61550659" not in str(document["rows"])


def _terminal(summary: Summary) -> str:
    stream = io.StringIO()
    print_table(summary, stream)
    return stream.getvalue()


@pytest.mark.parametrize("form", [_terminal, markdown, html_page])
def test_every_figure_carries_its_origin(summary: Summary, form: Any) -> None:
    """Letters mark the origin in each form, the legend explains them, and doubtful figures stand out."""
    text = form(summary)
    for cell in (
        "90.0 % m",
        "88.0 % m",
        "87.4 % s",
        "123 m",
        "5.00 m !",
        "0.75 p",
        "93.5 % pub",
        "11.2 pub",
        "1.80 pub",
    ):
        assert cell in text, cell
    for word in ("m measured", "s simulated", "p predicted", "pub published", "! INVALID", "90.0 %", "61,550,659"):
        assert word in text, word


@pytest.mark.parametrize("form", [_terminal, markdown, html_page])
def test_the_data_is_named(summary: Summary, form: Any) -> None:
    """The table says that its accuracy is on synthetic scenes and not on real roads."""
    text = " ".join(form(summary).split())
    assert "synthetic road scenes (road, 5 images)" in text and "not real roads" in text


def test_a_narrow_terminal_cuts_nothing(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    """In 80 columns the times move into a table of their own, and every figure is whole."""
    monkeypatch.setattr("bench.table._LOG_WIDTH", 80)
    text = _terminal(summary)
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    assert text.count("unpruned") == 2 and "123 m" in text and "93.5 % pub" in text


def test_the_reason_is_told(summary: Summary) -> None:
    """An INVALID figure's reason stands under the table, once, with the figure."""
    assert summary.doubts == ("drift (distilled on torch CPU)",)
    many = [
        _result(f"n{i}", "torch_cpu", 1.0, verdict="INVALID", reasons=["other load: busy"], model={"sha256": f"{i}"})
        for i in range(6)
    ]
    assert summarise_results(many).doubts == ("other load: busy (all of 6 times)",)


def test_a_bundle_alone_has_its_own_row() -> None:
    """Without its float network a bundle still has a row."""
    bundle = {"precision": "int8", "quantised_from": "dd" * 32, "sha256": "cc" * 32}
    rows = summarise_results([_result("bundle", "software_dpu", 0.8, metric="accuracy", model=bundle)]).rows
    assert [(row.model, row.map50_float) for row in rows] == [("bundle", None)]
    assert rows[0].map50_int8 and rows[0].map50_int8.value == 0.8


def test_html_escapes_names() -> None:
    """A network's name cannot bring its own markup."""
    page = html_page(summarise_results([_result("<b>x</b>", "torch_cpu", 1.0)]))
    assert "<b>x</b>" not in page and "&lt;b&gt;x&lt;/b&gt;" in page


def test_other_boards_have_their_own_column() -> None:
    """A prediction for another board is not shown as the ZCU104's."""
    assert label_of("dpu") == "ZCU104 DPU" and label_of("dpu_kv260") == "KV260 DPU"
