"""Result documents: written, read, refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.published import published_results
from bench.results import SUFFIX, ModelRecord, Result, key_of, load, load_all, now, save
from bench.statistics import summarise
from board_app.core.errors import InputError


def _result(name: str = "small net", samples: tuple[float, ...] = (1.0, 2.0)) -> Result:
    return Result(
        roadslim_version="0",
        key=key_of(name=name, samples=samples),
        session="s",
        created=now(),
        metric="latency",
        origin="measured",
        backend="torch_cpu",
        model=ModelRecord(name=name, sha256="ab" * 32, input_hw=(64, 64)),
        scope="network only",
        samples_ms=list(samples),
        statistics=summarise(samples),
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A result comes back equal, raw samples included, from a file whose name can be read."""
    path = save(_result(), tmp_path / "new")
    assert load(path) == _result().model_copy(update={"created": load(path).created})
    assert path.name.startswith("small_net.torch_cpu.latency.") and path.name.endswith(SUFFIX)
    document = json.loads(path.read_text())
    assert document["schema_version"] == 1 and document["samples_ms"] == [1.0, 2.0] and document["origin"] == "measured"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"schema_version": 2}, "schema_version 1, found 2"),
        ({"origin": "guessed"}, "origin"),
        ({"samples_ms": "fast"}, "samples_ms"),
        ({"sample_ms": [1]}, "sample_ms"),
        ({"backend": None}, "backend"),
    ],
)
def test_refuses_other_documents(tmp_path: Path, change: dict[str, object], found: str) -> None:
    """Another version, unknown fields and wrong values are errors that name the file and the remedy."""
    path = save(_result(), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=found) as error:
        load(path)
    assert str(path) in str(error.value) and "bench run" in str(error.value)


def test_refuses_broken_json(tmp_path: Path) -> None:
    """Half a file is an error, not a crash."""
    path = save(_result(), tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(InputError, match="expected a result's JSON"):
        load(path)


def test_reads_folders_and_files_once(tmp_path: Path) -> None:
    """A result named twice counts once; folders are read to the bottom."""
    first = save(_result("a"), tmp_path)
    save(_result("b"), tmp_path / "deeper")
    assert [result.model.name for result in load_all([tmp_path, first])] == ["a", "b"]


def test_says_where_there_is_nothing(tmp_path: Path) -> None:
    """A missing path and a folder without results are errors."""
    with pytest.raises(InputError, match="found nothing"):
        load_all([tmp_path / "no"])
    with pytest.raises(InputError, match="found none"):
        load_all([tmp_path])


def test_the_original_works_figures() -> None:
    """The published rows are exactly the original's, with origin `published` and no more claimed."""
    found = {(result.model.name, result.metric): result for result in published_results("0")}
    assert {result.origin for result in found.values()} == {"published"}
    large, small = "YOLOv3-608", "YOLOv3-608 pruned"
    assert found[large, "latency"].model.params == 61_550_659 and found[large, "latency"].samples_ms == [11.2]
    assert found[small, "latency"].model.params == 3_251_639 and found[small, "latency"].samples_ms == [1.8]
    accuracies = [found[name, "accuracy"].accuracy for name in (large, small)]
    assert [accuracy.map50 for accuracy in accuracies if accuracy] == [0.935, 0.924]
