"""The commands, as typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from board_app.core.atomic_file import sha256_of
from roadslim import main, roadslim_version


def _json(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main([str(word) for word in words]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1 and document["roadslim_version"] == roadslim_version()
    return document


def test_evaluate_json(capsys: pytest.CaptureFixture[str], run_folder: Path, dataset_folder: Path) -> None:
    """All fixed fields are there; a kept result says the same again."""
    words = ("evaluate", run_folder / "distill", dataset_folder, "--json", "--results", run_folder / "kept")
    document = _json(capsys, *words)
    assert {"map50", "map50_95", "f1", "per_class", "images", "protocol"} <= document.keys()
    assert document["images"] == 2 and document["model_sha256"] == sha256_of(run_folder / "distill" / "model.weights")
    assert len(list((run_folder / "kept").iterdir())) == 1
    assert _json(capsys, *words) == document


def test_evaluate_maps_classes(
    capsys: pytest.CaptureFixture[str], run_folder: Path, dataset_folder: Path, tmp_path: Path
) -> None:
    """A dataset that names the classes in another way gives the same accuracy, once they are mapped."""
    expected = _json(capsys, "evaluate", run_folder / "small.bundle", dataset_folder, "--json")
    named = tmp_path / "named"
    shutil.copytree(dataset_folder, named)
    text = (named / "dataset.yaml").read_text().replace("classes: [D00, D10]", "classes: [long, across]")
    (named / "dataset.yaml").write_text(text)
    words = ("evaluate", run_folder / "small.bundle", named, "--json")
    assert main([str(word) for word in words]) == 1
    capsys.readouterr()
    assert _json(capsys, *words, "--map", "long=D00", "across=D10")["per_class"] == expected["per_class"]


def test_evaluate_takes_every_form(capsys: pytest.CaptureFixture[str], run_folder: Path, dataset_folder: Path) -> None:
    """The float network has the same accuracy in each of its forms; int8 forms run on the software DPU."""
    stage = run_folder / "distill"
    cfg = ("--cfg", stage / "model.cfg")
    forms: list[tuple[object, ...]] = [
        (stage,),
        (*cfg, "--weights", stage / "model.weights"),
        (run_folder / "distill.onnx",),
        (stage, "--backend", "onnxruntime_cpu"),
        (run_folder / "small.bundle",),
        (run_folder / "distill_int.xmodel", *cfg),
        (run_folder / "distill_int.xmodel", *cfg, "between"),
    ]
    found = []
    for first, *more in forms:
        model = [] if first == "--cfg" else [first]
        flags = [first, *more] if first == "--cfg" else more
        words = (*flags[:-1], dataset_folder) if flags[-1:] == ["between"] else (dataset_folder, *flags)
        found.append(_json(capsys, "evaluate", *model, *words, "--json"))
    for document in found[:4]:
        assert document["map50"] == pytest.approx(found[0]["map50"], abs=1e-3)
    assert [document["origin"] for document in found] == ["measured"] * 4 + ["simulated"] * 3
    assert found[4]["map50"] == found[5]["map50"] == found[6]["map50"]


def test_evaluate_text(capsys: pytest.CaptureFixture[str], run_folder: Path, dataset_folder: Path) -> None:
    """For people there is a line a class and the protocol."""
    assert main(["evaluate", str(run_folder / "train"), str(dataset_folder), "--split", "val"]) == 0
    text = capsys.readouterr().out
    assert "val split" in text and "D00" in text and "101-point" in text


def test_predict(capsys: pytest.CaptureFixture[str], run_folder: Path) -> None:
    """JSON and text on stdout."""
    document = _json(capsys, "predict", run_folder / "train", "--board", "kv260", "--json")
    assert document["board"] == "kv260" and document["cores"] == 1
    small = _json(capsys, "predict", run_folder / "train", "--dpu", "B512", "--mhz", "100", "--cores", "1", "--json")
    assert small["dpu_ms"] > document["dpu_ms"] and (small["dpu_mhz"], small["cores"]) == (100.0, 1)
    assert main(["predict", str(run_folder / "train"), "--dpu", "B1"]) == 2
    assert main(["predict", str(run_folder / "train"), "--board", "zcu999"]) == 2
    assert "expected a board out of zcu104" in capsys.readouterr().err
    assert main(["predict", str(run_folder / "train" / "model.cfg"), "--size", "96", "128", "--layers"]) == 0
    assert "predicted" in capsys.readouterr().out


def test_run_table_report(
    capsys: pytest.CaptureFixture[str], run_folder: Path, dataset_folder: Path, tmp_path: Path
) -> None:
    """Plan to results, results to table in four forms, results to report."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        f"name: small\ndataset: {{path: {dataset_folder}, split: test}}\nsamples: 2\nbackends: [torch_cpu, dpu]\n"
        f"models:\n  - {{name: unpruned, path: {run_folder}/train}}\n"
        f"  - {{name: int8, path: {run_folder}/small.bundle}}\n"
    )
    out = tmp_path / "results"
    document = _json(capsys, "bench", "run", plan, "--out", out, "--json")
    assert [row["model"] for row in document["rows"]] == ["unpruned", "int8"]
    forms = ("--markdown", tmp_path / "t.md", "--html", tmp_path / "t.html", "--summary", tmp_path / "s.json")
    assert _json(capsys, "bench", "table", out, "--json", *forms) == document
    assert json.loads((tmp_path / "s.json").read_text()) == document
    assert "| unpruned |" in (tmp_path / "t.md").read_text() and "<table>" in (tmp_path / "t.html").read_text()
    assert main(["bench", "table", str(out)]) == 0
    assert "unpruned" in capsys.readouterr().out
    assert main(["bench", "report", str(out), "--out", str(tmp_path / "report.html"), "--title", "Small"]) == 0
    assert "<title>Small</title>" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["evaluate", "no", "data"], 1, "expected a model at no"),
        (["evaluate", "data"], 2, "expected MODEL, or --cfg with --weights"),
        (["evaluate", "a", "b", "c"], 2, "found 3 paths"),
        (["predict", "no.cfg"], 1, "expected a model at no.cfg"),
        (["bench", "run", "no.yaml"], 2, "expected a plan"),
        (["bench", "table", "no"], 1, "found nothing"),
        (["bench", "report", "no", "--out", "x.html"], 1, "found nothing"),
    ],
)
def test_mistakes(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: list[str],
    code: int,
    message: str,
) -> None:
    """Each mistake has its exit code and says what was expected, on stderr."""
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    captured = capsys.readouterr()
    assert message in captured.err and not captured.out


def test_backend_must_suit_the_model(
    capsys: pytest.CaptureFixture[str], run_folder: Path, dataset_folder: Path
) -> None:
    """A backend that does not run such a file is refused with those that do."""
    words = ["evaluate", str(run_folder / "small.bundle"), str(dataset_folder), "--backend"]
    assert main([*words, "torch_cpu"]) == 2 and "Choose software_dpu" in capsys.readouterr().err
    assert main([*words, "tensorrt"]) == 2 and "expected one of torch_cpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["evaluate"], ["predict"], ["bench"], ["bench", "run"], ["bench", "table"], ["bench", "report"]]
)
def test_help_has_an_example(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """--help explains itself with an example."""
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0 and "example" in capsys.readouterr().out
