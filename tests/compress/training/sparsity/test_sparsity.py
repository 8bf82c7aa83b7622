"""Sparse training as the stages use it, whatever the method."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from board_app.core.errors import InputError
from board_app.core.road_scenes import ROAD_CLASSES
from compress.config import SparsifyConfig, TaughtTrainingConfig
from compress.pruning import PruneOptions, prune, select
from compress.training.distillation import Distillation
from compress.training.loader import TrainingImages
from compress.training.sparsity import Sparsity
from compress.training.trainer import Training

OPTIONS = PruneOptions(channels=0.6, blocks=2)
TERMS = ("objectness", "classes", "boxes", "features")
CONFIG = SparsifyConfig(epochs=8, batch_size=4, learning_rate=0.002, evaluate_every=8, ema_steps=10)


@pytest.fixture
def sparse(network, images, tmp_path: Path):
    """A network after sparse training, and its metrics."""
    hook = Sparsity(network, OPTIONS, CONFIG)
    held_out = TrainingImages(images.samples[:4], images.input_hw, None, 0)
    averaged, history = Training(network, images, held_out, ROAD_CLASSES, CONFIG, tmp_path, hook).run()
    return averaged, history


def test_what_will_be_cut_is_exactly_zero(sparse) -> None:
    """In the averaged weights gamma and beta of every channel that the pruner then chooses are 0.0, others are not."""
    network, _ = sparse
    selection = select(network, OPTIONS)
    assert len(selection.removed_blocks) == 2
    removed, alive, stays = 0, 0, 0
    for layer, kept in selection.kept.items():
        bn = network.layers[layer].bn
        if bn is None:
            continue
        gone = ~torch.from_numpy(kept)
        removed += int(gone.sum())
        assert not bn.weight[gone].any() and not bn.bias[gone].any()
        alive += int((bn.weight[~gone] != 0).sum())
        stays += int(kept.sum())
    assert removed > 40 and alive > 0.9 * stays


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


def test_a_teacher_may_hold_it_to_what_it_knew(network, images, tmp_path: Path) -> None:
    """The teacher's terms are in the loss and in the metrics, and what is zero without one is zero with it."""
    teacher = Distillation(network, network, TaughtTrainingConfig())
    hook = Sparsity(network, OPTIONS, CONFIG, teacher)
    averaged, history = Training(network, images, images, ROAD_CLASSES, CONFIG, tmp_path, hook).run()
    labels = [2 * line["box"] + line["objectness"] + line["classes"] for line in history]
    taught = [sum(line[f"teacher_{term}"] for term in TERMS) for line in history]
    assert min(taught) > 0
    assert [line["loss"] for line in history] == pytest.approx([sum(both) for both in zip(labels, taught, strict=True)])
    assert history[-1]["zero_share"] == history[-1]["zero_share_aim"] > 0.6
    assert prune(averaged, OPTIONS).report.folding_error_border < 1e-4


def test_metrics_show_zeros_their_aim_and_the_gammas(sparse) -> None:
    """Zeros follow what was chosen and equal it at last; the histogram counts every prunable gamma."""
    _, history = sparse
    assert all(line["zero_share"] <= line["zero_share_aim"] for line in history)
    assert history[0]["zero_share"] < 0.4 and history[-1]["zero_share"] == history[-1]["zero_share_aim"] > 0.6
    assert len({sum(line["gamma_histogram"]) for line in history}) == 1
    assert len({line["gamma_histogram_max"] for line in history}) == 1


@pytest.mark.parametrize("method", ["scheduled", "proximal", "constant"])
def test_an_interrupted_sparse_training_ends_with_the_same_weights(
    network, images, tmp_path: Path, method: str
) -> None:
    """Stopped after a third of the epochs and gone on with a new hook: every weight is equal to the bit."""
    config = CONFIG.model_copy(update={"method": method, "epochs": 3, "evaluate_every": 3})
    start = {name: value.clone() for name, value in network.state_dict().items()}
    held_out = TrainingImages(images.samples[:4], images.input_hw, None, 0)

    def training(folder: Path, hook: Sparsity) -> Training:
        folder.mkdir(exist_ok=True)
        return Training(network, images, held_out, ROAD_CLASSES, config, folder, hook)

    whole, _ = training(tmp_path / "whole", Sparsity(network, OPTIONS, config)).run()
    network.load_state_dict(start)
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "cut", _Stopped(network, OPTIONS, config)).run()
    network.load_state_dict(start)
    again, _ = training(tmp_path / "cut", Sparsity(network, OPTIONS, config)).run()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


class _Stopped(Sparsity):
    def after_step(self, step: int, learning_rate: float) -> None:
        if step == 4:
            raise KeyboardInterrupt
        super().after_step(step, learning_rate)


def test_too_many_blocks_are_refused_before_training(network) -> None:
    """Nobody trains for hours to hear that the network has no 99 blocks."""
    with pytest.raises(InputError, match="expected at least 99 residual blocks"):
        Sparsity(network, PruneOptions(channels=0.6, blocks=99), CONFIG)


def test_the_histogram_reaches_as_far_as_the_gammas_do(network) -> None:
    """Scales of trained weights may be far from 1: the largest lie inside, few in the last bin."""
    with torch.no_grad():
        for group in Sparsity(network, OPTIONS, CONFIG)._groups:
            for gamma in group.gammas:
                gamma.copy_(torch.linspace(0.8, 5.5, len(gamma)))
    metrics = Sparsity(network, OPTIONS, CONFIG).metrics()
    assert 5.5 < metrics["gamma_histogram_max"] < 11 and metrics["gamma_histogram"][-1] == 0
