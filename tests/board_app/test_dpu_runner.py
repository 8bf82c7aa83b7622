"""The adapter of xir and vart, on the fake DPU."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from board_app.core.bundle import Bundle, DetectorSpec
from board_app.core.errors import RunnerError
from board_app.dpu_runner import open_runners
from board_app.testing import SQUARES, FakeDpu, square_heads, write_squares_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_squares_bundle(tmp_path / "squares.bundle")


def plug_in(monkeypatch: pytest.MonkeyPatch, dpu: FakeDpu) -> FakeDpu:
    monkeypatch.setitem(sys.modules, "xir", dpu.xir)
    monkeypatch.setitem(sys.modules, "vart", dpu.vart)
    return dpu


def test_heads_come_in_the_order_of_the_bundle(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """VART sorts outputs by name; the runner gives them as detector.json lists them, each run in fresh arrays."""
    plug_in(monkeypatch, FakeDpu())
    (runner,) = open_runners(bundle, 1)
    picture = np.random.default_rng(0).integers(-128, 128, (64, 64, 3)).astype(np.int8)
    heads = runner.run(picture)
    expected = square_heads(picture, SQUARES)
    for head, spec in zip(heads, SQUARES.heads, strict=True):
        np.testing.assert_array_equal(head, expected[spec.output][0])
    again = runner.run(np.zeros_like(picture))
    assert not any(np.shares_memory(a, b) for a, b in zip(heads, again, strict=True))


def test_not_contiguous_pictures_are_copied(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view into a larger array reaches the DPU as a contiguous buffer."""
    plug_in(monkeypatch, FakeDpu())
    (runner,) = open_runners(bundle, 1)
    assert len(runner.run(np.zeros((64, 128, 3), np.int8)[:, ::2])) == 2


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"input_fix_point": 5}, r"input picture \[1, 64, 64, 3\] xint8 fix point 6, but the model has .*fix point 5"),
        ({"input_hw": (32, 64)}, r"but the model has picture \[1, 32, 64, 3\]"),
        ({"input_tensor": "data"}, r"input picture is not in the model; .*input data is not in detector\.json"),
        ({"heads": SQUARES.heads[:1]}, r"output head_a is not in the model"),
        ({"heads": (replace(SQUARES.heads[0], fix_point=4), SQUARES.heads[1])}, r"output head_b .*fix point 4"),
        ({"classes": ("a", "b", "c")}, r"output head_b \[1, 2, 2, 7\].*but the model has head_b \[1, 2, 2, 8\]"),
    ],
)
def test_a_model_that_differs_from_its_description(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any], message: str
) -> None:
    """Every tensor that is not as detector.json says is named, with both sides and a remedy."""
    spec: DetectorSpec = replace(SQUARES, **model)
    plug_in(monkeypatch, FakeDpu(spec))
    with pytest.raises(RunnerError, match=message) as caught:
        open_runners(bundle, 2)
    assert "Make the bundle again" in str(caught.value)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (
            ("USER",),
            r"expected one DPU subgraph, found 0\. The model is quantised, not compiled\. .*roadslim compile BUNDLE",
        ),
        (("USER", "DPU", "CPU", "DPU"), r"expected one DPU subgraph, found 2\. An operator .* falls to the CPU"),
    ],
)
def test_a_model_without_exactly_one_dpu_part(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, devices: tuple[str, ...], message: str
) -> None:
    """None or several DPU subgraphs are refused with what to do."""
    plug_in(monkeypatch, FakeDpu(devices=devices))
    with pytest.raises(RunnerError, match=message):
        open_runners(bundle, 1)


def test_times_have_the_origin_that_the_module_says(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vart that says nothing, as AMD's, runs a real DPU: measured; one that says what it is, is believed."""
    vart: Any = plug_in(monkeypatch, FakeDpu()).vart
    assert [runner.origin for runner in open_runners(bundle, 2)] == ["measured", "measured"]
    vart.ORIGIN = "simulated"
    assert open_runners(bundle, 1)[0].origin == "simulated"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            "deserialize",
            r"expected a model that the DPU takes, found: no good\. .*roadslim xmodel check .*model\.xmodel",
        ),
        ("create_runner", r"expected a model that the DPU takes, found: no good\."),
        ("execute_async", r"expected the DPU to run the network, found: no good\."),
    ],
)
def test_what_the_runtime_raises_is_our_error(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, place: str, message: str
) -> None:
    """A RuntimeError of xir or vart, wherever it comes, becomes an error with what to do."""
    dpu: Any = plug_in(monkeypatch, FakeDpu())

    def refuse(*args: Any) -> None:
        raise RuntimeError("no good.")

    owner = dpu.xir.Graph if place == "deserialize" else dpu.vart.Runner
    monkeypatch.setattr(owner, place, refuse)
    with pytest.raises(RunnerError, match=message):
        open_runners(bundle, 1)[0].run(np.zeros((64, 64, 3), np.int8))


def test_no_vart_here(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without the modules the error says where they are."""
    monkeypatch.setitem(sys.modules, "xir", None)
    monkeypatch.setitem(sys.modules, "vart", None)
    with pytest.raises(RunnerError, match=r"expected the Python modules xir and vart.*roadslim live"):
        open_runners(bundle, 1)


def test_a_failed_run_is_an_error(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status other than 0 is never taken for a result."""
    plug_in(monkeypatch, FakeDpu(fail_at=1))
    (runner,) = open_runners(bundle, 1)
    runner.run(np.zeros((64, 64, 3), np.int8))
    with pytest.raises(RunnerError, match="expected the DPU to finish the run with status 0, found 0 .* and -1"):
        runner.run(np.zeros((64, 64, 3), np.int8))
