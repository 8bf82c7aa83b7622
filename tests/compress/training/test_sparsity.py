"""Sparse training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from board_app.core.errors import InputError
from board_app.core.road_scenes import ROAD_CLASSES
from compress.config import SparsifyConfig
from compress.pruning import PruneOptions, prune, select
from compress.training.loader import TrainingImages
from compress.training.sparsity import Sparsity
from compress.training.trainer import Training

OPTIONS = PruneOptions(channels=0.6, blocks=2)
CONFIG = SparsifyConfig(epochs=5, batch_size=4, learning_rate=0.002, evaluate_every=5, ema_steps=10)


@pytest.fixture
def sparse(network, images, tmp_path: Path):
    """A network after sparse training, and its last metrics."""
    hook = Sparsity(network, OPTIONS, CONFIG)
    held_out = TrainingImages(images.samples[:4], images.input_hw, None, 0)
    averaged, history = Training(network, images, held_out, ROAD_CLASSES, CONFIG, tmp_path, hook).run()
    return averaged, history


def test_what_will_be_cut_is_exactly_zero(sparse) -> None:
    """Gamma and beta of every channel and block that the pruner then chooses are 0.0, of most others not."""
    network, _ = sparse
    selection = select(network, OPTIONS)
    assert len(selection.removed_blocks) == 2
    removed, alive, stays = 0, 0, 0
    for layer, kept in selection.kept.items():
        bn = network.layers[layer].bn
        if bn is None or any(layer == block.first_conv for block in selection.removed_blocks):
            continue  # a removed block is silent when its second convolution is
        gone = ~torch.from_numpy(kept)
        removed += int(gone.sum())
        assert not bn.weight[gone].any() and not bn.bias[gone].any()
        alive += int((bn.weight[~gone] != 0).sum())
        stays += int(kept.sum())
    assert removed > 40 and alive > 0.8 * stays


def test_pruning_then_changes_nothing_but_rounding(sparse) -> None:
    """The pruned network gives the sparse network's outputs, borders included."""
    network, _ = sparse
    result = prune(network, OPTIONS)
    x = torch.rand(2, 3, *network.cfg.input_hw, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for mine, theirs in zip(result.network(x), network.eval()(x), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    assert result.report.folding_error_border < 1e-4
    assert result.report.params_after < 0.5 * result.report.params_before


def test_metrics_show_the_share_of_zeros_and_the_gammas(sparse) -> None:
    """No zeros at first, about the wished share at last; the histogram counts every prunable gamma."""
    _, history = sparse
    assert history[0]["zero_share"] == 0.0 and history[-1]["zero_share"] > 0.6
    assert len({sum(line["gamma_histogram"]) for line in history}) == 1


def test_the_choice_survives_a_checkpoint(network) -> None:
    """State and back gives the same masks and blocks."""
    hook = Sparsity(network, OPTIONS, CONFIG)
    hook.begin(10)
    hook.after_step(6, 0.001)
    other = Sparsity(network, OPTIONS, CONFIG)
    other.load_state(hook.state())
    mine, theirs = hook.state()["selection"], other.state()["selection"]
    assert mine["shortcuts"] == theirs["shortcuts"]
    assert all(torch.equal(mine["kept"][layer], theirs["kept"][layer]) for layer in mine["kept"])


def test_too_many_blocks_are_refused_before_training(network) -> None:
    """Nobody trains for hours to hear that the network has no 99 blocks."""
    with pytest.raises(InputError, match="expected at least 99 residual blocks"):
        Sparsity(network, PruneOptions(channels=0.6, blocks=99), CONFIG)


@pytest.mark.parametrize("spread_share", [0.0, 0.8, 0.99])
def test_every_spread_share_works(network, spread_share: float) -> None:
    """Also the ones that leave no time between the pull on all channels and the end: what is cut is zero."""
    hook = Sparsity(network, OPTIONS, CONFIG.model_copy(update={"spread_share": spread_share}))
    hook.begin(200)
    for step in range(200):
        hook.after_step(step, 0.001)
    assert hook.metrics()["zero_share"] > 0.5
