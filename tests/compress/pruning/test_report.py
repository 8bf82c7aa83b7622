"""What is told of a cut: the document, its rows by layer, the summary, the table and the picture."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from rich.console import Console

from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import randomise
from compress.darknet.topologies import yolov3_cfg, yolov3_tiny_cfg
from compress.pruning import PruneOptions, PruneReport, prune
from compress.pruning.layer_picture import draw_layers
from compress.pruning.layer_rows import layer_table


@pytest.fixture(scope="module")
def network() -> DarknetNetwork:
    """YOLOv3 in full depth and an eighth of its width."""
    return randomise(DarknetNetwork(yolov3_cfg(6, (64, 64), 0.125)), share_zero=0.5)


@pytest.fixture(scope="module")
def report(network: DarknetNetwork) -> PruneReport:
    """Of a cut of live channels and two blocks."""
    return prune(network, PruneOptions(channels=0.7, blocks=2)).report


def test_rows_add_up(report: PruneReport, network: DarknetNetwork) -> None:
    """Parameters, GMACs and predicted milliseconds of the layers are the network's; lanes are shares."""
    for name in ("params", "gmacs", "predicted_dpu_ms"):
        for when in ("before", "after"):
            rows = sum(getattr(row, f"{name}_{when}") for row in report.layers)
            assert rows == pytest.approx(getattr(report, f"{name}_{when}"))
    convolutions = [row for row in report.layers if row.type == "convolutional"]
    assert len(convolutions) == 75
    for row in report.layers:
        assert row.channels_after <= row.channels_before
        assert row.lane_use_before is None or 0 < row.lane_use_before <= 1
        assert row.is_gone == (row.channels_after == 0) and (not row.is_gone or row.predicted_dpu_ms_after == 0)
    gone = {row.layer for row in report.layers if row.is_gone}
    assert gone == {layer for shortcut in report.removed_shortcuts for layer in range(shortcut - 2, shortcut + 1)}


def test_gammas_are_counted(network: DarknetNetwork, report: PruneReport) -> None:
    """Zeros before the cut, and the share of |gamma| that went, by a count of our own."""
    gammas = [module.weight.detach() for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert report.zero_gammas_before == sum(int((gamma == 0).sum()) for gamma in gammas)
    assert report.channels_before == sum(len(gamma) for gamma in gammas)
    whole = prune(network, PruneOptions(channels=0)).report
    assert whole.gamma_removed_share == 0 < report.gamma_removed_share < 0.7
    assert whole.params_after == whole.params_before and whole.cut_nothing_live and not report.cut_nothing_live


def test_the_document_comes_back(report: PruneReport) -> None:
    """What is written as JSON is read as the same report."""
    rounds = replace(report, rounds=({"round": 1, "map50": 0.5},), recalibration_images=7)
    assert PruneReport.from_json(rounds.to_json()) == rounds


def test_a_document_without_the_share_asked_for_is_read(report: PruneReport) -> None:
    """As finished stages have that were cut before it was told."""
    document = report.document()
    for name in ("channels_asked_share", "channels_removed_share", "channels_held_by"):
        del document[name]
    old = PruneReport.from_json(json.dumps(document))
    assert old.channels_asked_share is None and "note: the target" not in old.summary()


def test_two_cuts_make_one_report(network: DarknetNetwork) -> None:
    """The second one's layers are found again in the first one's; sizes are from before the first to after the last."""
    first = prune(network, PruneOptions(channels=0.3, blocks=2))
    second = prune(first.network, PruneOptions(channels=0.4, blocks=3))
    both = first.report.followed_by(second.report)
    assert (both.params_before, both.params_after) == (first.report.params_before, second.report.params_after)
    assert both.blocks_removed == len(set(both.removed_shortcuts)) == 5
    assert all(network.cfg.layers[layer].type == "shortcut" for layer in both.removed_shortcuts)
    assert sum(row.is_gone for row in both.layers) == 15
    assert sum(row.params_after for row in both.layers) == second.report.params_after
    assert sum(row.params_before for row in both.layers) == first.report.params_before
    assert both.channels_asked_share == pytest.approx(1 - 0.7 * 0.6)
    assert both.channels_removed_share == pytest.approx(1 - 0.7 * 0.6, abs=0.01)
    assert both.folding_error_border == max(first.report.folding_error_border, second.report.folding_error_border)


@pytest.mark.parametrize(
    ("changes", "expected", "absent"),
    [
        ({"gamma_removed_share": 0.3}, "note: channels at work were cut", ""),
        ({"gamma_removed_share": 0.0}, "of all |gamma| 0.0 % was cut", "note: channels"),
        ({"predicted_dpu_ms_before": 4.0, "predicted_dpu_ms_after": 2.0}, "2.0 times faster on the DPU", ""),
        ({"predicted_dpu_ms_before": 90.0, "predicted_dpu_ms_after": 2.0}, "DPU ms (zcu104)", "times faster"),
        (
            {"channels_held_by": "so", "channels_removed_share": 0.5},
            "50.0 % of the channels were cut, 70.0 % were asked for: so",
            "already met",
        ),
        ({"channels_held_by": "so", "channels_removed_share": 0.8}, "gammas at zero before", "asked for"),
        ({"channels_asked_share": None, "params_after": 974_875}, "note: the target was already met", "asked for"),
        ({"recalibration_images": 64}, "estimated anew on 64 images", ""),
        ({"folding_error_inside": None}, "inside none", "estimated anew"),
    ],
)
def test_the_summary_tells_what_to_expect(
    changes: dict[str, Any], expected: str, absent: str, report: PruneReport
) -> None:
    """Live channels cut, or a time that falls much less than the parameters, are said, with what to do."""
    text = replace(report, **changes).summary()
    assert expected in text and "gammas at zero before" in text
    assert not absent or absent not in text


def test_the_table_has_every_layer(report: PruneReport) -> None:
    """No figure is cut off; what went with its block is marked."""
    console = Console(width=120, file=io.StringIO())
    with console.capture() as printed:
        console.print(layer_table(report.layers))
    text = printed.get()
    assert "…" not in text and text.count("gone") == 6
    row = report.layers[0]
    assert f"{row.channels_before} -> {row.channels_after}" in text
    assert f"{row.params_before:,} -> {row.params_after:,}" in text


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture_is_drawn(report: PruneReport, suffix: str, tmp_path: Path) -> None:
    """For the deep network and for a small one without blocks."""
    tiny = prune(randomise(DarknetNetwork(yolov3_tiny_cfg(2, (64, 64), 0.25))), PruneOptions(channels=0.5)).report
    for name, shown in (("deep", report), ("tiny", tiny)):
        draw_layers(shown, tmp_path / f"{name}.{suffix}")
        assert (tmp_path / f"{name}.{suffix}").stat().st_size > 10_000
    if suffix == "png":
        height, width = cv2.imread(str(tmp_path / "deep.png")).shape[:2]
        assert (height, width) == (880, 1650)
