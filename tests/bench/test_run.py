"""A whole plan: measured, kept, set aside."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from bench.plan import DatasetChoice, ModelChoice, Plan
from bench.results import SUFFIX, Result, load_all
from bench.run import run_plan
from bench.summary import summarise_results
from board_app.core.errors import InputError


@pytest.fixture
def plan(run_folder: Path, dataset_folder: Path, tmp_path: Path) -> Plan:
    """Two float networks and a bundle, few samples."""
    shutil.copytree(run_folder, tmp_path / "run")
    names = {"unpruned": "train", "distilled": "distill", "int8": "small.bundle"}
    return Plan(
        name="small",
        dataset=DatasetChoice(path=dataset_folder),
        models=[ModelChoice(name=name, path=tmp_path / "run" / path) for name, path in names.items()],
        backends=["torch_cpu", "onnxruntime_cpu", "torch_cuda", "software_dpu", "dpu"],
        samples=3,
    )


def _by(results: list[Result]) -> dict[tuple[str, str, str], Result]:
    return {(result.model.name, result.backend, result.metric): result for result in results}


def test_measures_everything_once(plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All models on all backends that are here; a second run keeps it all, and --fresh measures again."""
    out = tmp_path / "out"
    first = _by(run_plan(plan, out))
    ours = {key: result for key, result in first.items() if result.origin != "published"}
    assert {key[:2] for key in ours if key[2] == "accuracy"} == {
        ("unpruned", "torch_cpu"),
        ("distilled", "torch_cpu"),
        ("int8", "software_dpu"),
    }
    timed = {key[:2]: result for key, result in ours.items() if len(result.samples_ms) > 1}
    assert {name for name, _ in timed} == {"unpruned", "distilled", "int8"}
    assert {backend for _, backend in timed} >= {"torch_cpu", "onnxruntime_cpu", "software_dpu"}
    assert len({result.session for result in timed.values()}) == 1
    for result in timed.values():
        assert len(result.samples_ms) == 3 and result.verdict == "INVALID"
        assert result.reasons[0].startswith("too few samples: 3")
        assert result.settings["threads"] == 1 and result.environment is not None
    assert ours["int8", "software_dpu", "latency"].origin == "simulated"
    assert ours["int8", "dpu", "latency"].origin == "predicted"
    assert len(list(out.glob(f"*{SUFFIX}"))) == len(first) == len(load_all([out]))

    with caplog.at_level(logging.INFO):
        second = _by(run_plan(plan, out))
    assert sum("kept" in message for message in caplog.messages) == 4
    assert second["int8", "software_dpu", "accuracy"] == first["int8", "software_dpu", "accuracy"]
    assert second["unpruned", "torch_cpu", "latency"] == first["unpruned", "torch_cpu", "latency"]

    again = _by(run_plan(plan, out, fresh=True))
    assert again["unpruned", "torch_cpu", "latency"].samples_ms != first["unpruned", "torch_cpu", "latency"].samples_ms


def test_a_changed_model_is_measured_again(plan: Plan, tmp_path: Path) -> None:
    """Other weights: their old results are set aside, and all times are taken anew in one session."""
    out = tmp_path / "out"
    first = _by(run_plan(plan, out))
    weights = tmp_path / "run" / "distill" / "model.weights"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # the last digit of the last weight
    weights.write_bytes(bytes(content))
    second = _by(run_plan(plan, out))
    changed, same = ("distilled", "torch_cpu"), ("unpruned", "torch_cpu")
    assert second[*changed, "accuracy"].key != first[*changed, "accuracy"].key
    assert second[*same, "accuracy"] == first[*same, "accuracy"]
    assert second[*changed, "latency"].session == second[*same, "latency"].session
    assert len(list(out.glob("distilled*.superseded.json"))) == 4
    assert {result.key for result in load_all([out])} == {result.key for result in second.values()}


def test_the_bundle_joins_its_networks_row(plan: Plan, tmp_path: Path) -> None:
    """The int8 mAP stands beside the float mAP of the network that was quantised."""
    summary = summarise_results(run_plan(plan, tmp_path / "out"))
    assert [row.model for row in summary.rows] == ["unpruned", "distilled"]
    unpruned, distilled = summary.rows
    assert unpruned.map50_int8 is None and unpruned.map50_float is not None
    assert distilled.map50_int8 is not None and distilled.map50_int8.origin == "simulated"
    assert distilled.latency_ms["dpu"].origin == "predicted"
    assert distilled.params_fewer == pytest.approx(1 - distilled.record.params / unpruned.record.params)


def test_nothing_is_measured_when_a_model_is_missing(plan: Plan, tmp_path: Path) -> None:
    """A wrong path ends the run before the first measurement."""
    wrong = plan.model_copy(update={"models": [*plan.models, ModelChoice(name="x", path=tmp_path / "no")]})
    with pytest.raises(InputError, match="expected a model at"):
        run_plan(wrong, tmp_path / "out")
    assert not (tmp_path / "out").exists()
