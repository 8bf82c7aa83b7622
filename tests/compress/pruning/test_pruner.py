"""The cut network against the full one."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from board_app.core.errors import RoadslimError
from compress.darknet.model_files import load_folder, load_model, save_model
from compress.darknet.network import ConvolutionLayer, DarknetNetwork
from compress.darknet.testing import MORE, random_cfg, randomise
from compress.darknet.topologies import yolov3_cfg
from compress.pruning import PruneOptions, PruneResult, prune, removable_blocks, select
from compress.pruning.checks import check_images, compare_compact
from compress.pruning.surgery import compact, silenced
from compress.pruning.testing import silence_cut


def any_network(seed: int, slope: float = 0.1) -> DarknetNetwork:
    """A random one, in half of the cases with layers of newer families too."""
    return randomise(DarknetNetwork(random_cfg(seed, slope=slope, more=MORE if seed // 2 % 2 else ())), seed)


def cut(network: DarknetNetwork, channels: float, seed: int = 0) -> PruneResult:
    """Prune with up to two blocks."""
    blocks = min(len(removable_blocks(network.cfg)), seed % 3)
    return prune(network, PruneOptions(channels=channels, blocks=blocks, min_channels=1))


def with_gamma_zero(network: DarknetNetwork, result: PruneResult) -> DarknetNetwork:
    """The full network with gamma = 0 where channels went, beta left: an independent reference."""
    reference = copy.deepcopy(network)
    with torch.no_grad():
        for conv, kept in result.selection.kept.items():
            if reference.convolution(conv).bn is not None:
                reference.batch_norm(conv).weight.mul_(torch.from_numpy(kept))
    return reference


def circular(network: DarknetNetwork) -> DarknetNetwork:
    """A copy in float64 whose convolutions see the picture as a ring: no border, so folding is exact."""
    copied = copy.deepcopy(network).double()
    for layer in copied.layers:
        if isinstance(layer, ConvolutionLayer):
            layer.conv.padding_mode = "circular"
    return copied


@given(st.integers(0, 100_000), st.sampled_from([0.2, 0.6, 0.95]))
@settings(max_examples=30, deadline=None)
def test_folding_is_exact_where_there_is_no_border(seed: int, channels: float) -> None:
    """On a ring, the small network equals the full one with gamma = 0: folding, indices and blocks all at once."""
    network = any_network(seed, slope=0.1 + seed % 2 * 0.2)
    result = cut(network, channels, seed)
    images = torch.rand(1, 3, *network.cfg.input_hw, dtype=torch.float64)
    with torch.no_grad():
        small, full = circular(result.network)(images), circular(with_gamma_zero(network, result))(images)
    torch.testing.assert_close(small, full, rtol=1e-4, atol=1e-4)  # running means are stored in float32


@given(st.integers(0, 100_000))
@settings(max_examples=25, deadline=None)
def test_zero_channels_cost_nothing(seed: int) -> None:
    """Where gamma and beta are exactly zero, as after sparse training, nothing is lost, inside or at the border."""
    network = any_network(seed)
    options = PruneOptions(channels=0.6, blocks=min(1, len(removable_blocks(network.cfg))))
    silence_cut(network, select(network, options))
    with torch.no_grad():
        result = prune(network, options)
        report = result.report
        assert report.gamma_removed_share == 0 and report.cut_nothing_live
        assert max(report.folding_error_inside or 0, report.folding_error_border) < 1e-6
        images = torch.rand(1, 3, *network.cfg.input_hw)
        torch.testing.assert_close(result.network(images), network(images), rtol=1e-4, atol=1e-4)


@given(st.integers(0, 100_000), st.sampled_from([0.2, 0.6, 0.9]), st.sampled_from([1, 4]))
@settings(max_examples=25, deadline=None)
def test_any_network_is_cut_saved_loaded_and_cut_again(seed: int, channels: float, multiple: int) -> None:
    """Compact equals masked for any graph; the input stays; the file gives the same and can be pruned further."""
    network = any_network(seed)
    before = copy.deepcopy(network.state_dict())
    options = PruneOptions(channels=channels, blocks=min(len(removable_blocks(network.cfg)), seed % 3))
    result = prune(network, replace(options, min_channels=1, width_multiple=multiple))
    assert result.report.compact_vs_masked_max_abs <= 1e-4
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with tempfile.TemporaryDirectory() as folder:
        save_model(result.network, folder)
        loaded = load_folder(folder)
    images = torch.rand(1, 3, *network.cfg.input_hw)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), result.network(images), rtol=0, atol=0)
    again = cut(loaded, 0.4)
    assert again.report.params_before == result.report.params_after
    assert again.report.compact_vs_masked_max_abs <= 1e-4


@pytest.mark.parametrize("channels", [0.85, 0.999])
def test_yolov3_keeps_its_outputs(channels: float) -> None:
    """The whole topology loses 24 layers and the share of its channels; the check holds and the report adds up."""
    network = randomise(DarknetNetwork(yolov3_cfg(6, (96, 128), 0.125)), share_zero=0.5)
    result = prune(network, PruneOptions(channels=channels, blocks=8))
    report = result.report
    assert len(network.cfg.layers) - len(result.network.cfg.layers) == 24
    assert (report.blocks_removed, len(report.layers)) == (8, 107 - 3)
    assert sum(row.is_gone for row in report.layers) == 24
    assert report.compact_vs_masked_max_abs <= 1e-4
    assert report.params_after == sum(p.numel() for p in result.network.parameters())
    assert report.params_after < 0.15 * report.params_before
    assert report.gmacs_after < report.gmacs_before
    assert report.predicted_dpu_ms_after < report.predicted_dpu_ms_before
    assert (report.folding_error_inside or 0) < report.folding_error_border
    assert [head.anchors for head in result.network.heads] == [head.anchors for head in network.heads]


def test_coco_tiny_keeps_its_outputs(shared_data: Path) -> None:
    """Real weights: the check holds, folding is near exact inside and far better than dropping constants."""
    folder = shared_data / "weights"
    network = load_model(folder / "yolov3-tiny.cfg", folder / "yolov3-tiny.weights")
    report = prune(network, PruneOptions(channels=0.3)).report
    assert report.compact_vs_masked_max_abs <= 1e-4
    assert report.folding_error_inside is not None and report.folding_error_inside < 0.02
    assert report.folding_error_border < 0.4


@pytest.mark.slow
def test_full_size_yolov3_is_pruned_within_2_gb(tmp_path: Path) -> None:
    """From the command to the written files: 61.5 million parameters, 85 % of the channels and 8 blocks."""
    save_model(randomise(DarknetNetwork(yolov3_cfg(6, (608, 608)))), tmp_path)
    flags = ["--model", str(tmp_path), "--out", str(tmp_path / "small"), "--channels", "85%", "--blocks", "8"]
    process = subprocess.Popen([sys.executable, "-m", "roadslim", "prune", *flags])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert used.ru_maxrss < 2 << 20  # kB
    report = json.loads((tmp_path / "small" / "prune.json").read_text())
    assert report["params_before"] == 61_550_659
    assert report["compact_vs_masked_max_abs"] <= 1e-4


def test_a_wrong_cut_fails_the_stage() -> None:
    """A compact network with two channels swapped, or with NaN, is caught by the check."""
    network = randomise(DarknetNetwork(yolov3_cfg(6, (32, 32), 0.125)))
    selection = select(network, PruneOptions(channels=0.5))
    masked = silenced(network, selection)
    images = check_images(network.cfg)
    for damage in (
        lambda weight: weight[:, [1, 0, *range(2, weight.shape[1])]].clone(),
        lambda weight: weight * torch.nan,
    ):
        small = compact(masked, selection)
        compare_compact(small, masked, images)
        weight = small.convolution(81).conv.weight
        with torch.no_grad():
            weight.copy_(damage(weight))
        with pytest.raises(RoadslimError, match="expected the compact network to equal the masked one"):
            compare_compact(small, masked, images)


def test_outputs_too_large_for_float32_are_compared_in_float64() -> None:
    """Where float32's own rounding exceeds the limit, float64 decides and the report says so."""
    network = randomise(DarknetNetwork(yolov3_cfg(6, (32, 32), 0.125)))
    with torch.no_grad():
        for head in network.heads:
            network.convolution(head.layer).conv.weight.mul_(1e5)
    report = cut(network, 0.5).report
    assert report.compact_vs_masked_precision == "float64"
    assert report.compact_vs_masked_max_abs <= 1e-4 < report.compact_vs_masked_max_abs_float32


@pytest.mark.parametrize(
    ("input_hw", "checked"), [((64, 96), (64, 96)), ((608, 608), (192, 192)), ((416, 800), (96, 192))]
)
def test_check_images_are_of_a_size_the_network_takes(input_hw: tuple[int, int], checked: tuple[int, int]) -> None:
    """Small inputs are checked as they are, large ones in a smaller size of about the same form."""
    images = check_images(yolov3_cfg(6, input_hw, 0.125))
    assert tuple(images.shape) == (2, 3, *checked)
    assert 0 <= float(images.min()) and float(images.max()) <= 1
    assert torch.equal(images, check_images(yolov3_cfg(6, input_hw, 0.125)))
