"""Plans: read, refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.plan import load_plan
from bench.statistics import P90_SAMPLES
from board_app.core.errors import UsageError

MODELS = "models:\n  - {name: a, path: runs/a}\n"


def test_reads_a_plan(tmp_path: Path) -> None:
    """A short plan has sensible defaults: enough samples for p90, one thread, the published rows."""
    (tmp_path / "plan.yaml").write_text("name: demo\ndataset: {path: data/road}\n" + MODELS)
    plan = load_plan(tmp_path / "plan.yaml")
    assert plan.samples >= P90_SAMPLES and plan.threads == 1 and plan.published
    assert plan.dataset and plan.dataset.split == "test" and plan.models[0].path == Path("runs/a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: demo\nsampels: 3\n" + MODELS, "unknown key 'sampels'. Did you mean 'samples'?"),
        ("name: demo\ndataset: {path: d, splitt: test}\n" + MODELS, "unknown key 'splitt'"),
        ("name: demo\nbackends: [tensorrt]\n" + MODELS, "tensorrt"),
        ("name: demo\nsamples: 0\n" + MODELS, "samples"),
        ("name: demo\nboard: zedboard\n" + MODELS, "expected one of zcu104, kv260, zcu102, found 'zedboard'"),
        ("name: demo\nmodels: []\n", "models"),
        (MODELS, "name"),
        ("name: demo\n" + MODELS + "  - {name: a, path: runs/b}\n", "a stands there twice"),
        ("- a\n- b\n", "expected `key: value` lines"),
        ("name: [demo\n", "expected YAML"),
    ],
)
def test_refuses_a_wrong_plan(tmp_path: Path, text: str, message: str) -> None:
    """Every mistake is named with the file and, for a misspelt key, the nearest known one."""
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(UsageError) as error:
        load_plan(tmp_path / "plan.yaml")
    assert message in str(error.value) and "plan.yaml" in str(error.value)


def test_says_when_there_is_no_plan(tmp_path: Path) -> None:
    """A missing file is a usage error."""
    with pytest.raises(UsageError, match="expected a plan"):
        load_plan(tmp_path / "plan.yaml")


def test_the_examples_can_be_read() -> None:
    """Every plan in configs/ loads."""
    examples = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*-bench.yaml"))
    assert examples and all(load_plan(example).models for example in examples)
