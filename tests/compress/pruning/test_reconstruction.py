"""compress.pruning.reconstruction: what stays tells what goes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import MORE, random_cfg, randomise
from compress.darknet.topologies import yolov3_tiny_cfg
from compress.pruning import PruneOptions, Selection, prune, removable_blocks, select
from compress.pruning.reconstruction import reconstructed
from compress.pruning.surgery import compact, silenced
from compress.pruning.testing import silence_cut


def pictures(network: DarknetNetwork, count: int = 16) -> list[Tensor]:
    """Batches of smooth noise."""
    generator = torch.Generator().manual_seed(1)
    height, width = network.cfg.input_hw
    coarse = torch.rand(count, network.cfg.input_channels, height // 4, width // 4, generator=generator)
    return list(torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").split(5))


def tiny() -> DarknetNetwork:
    return randomise(DarknetNetwork(yolov3_tiny_cfg(2, (64, 96), 0.125)))


def everything(network: DarknetNetwork) -> dict[int, np.ndarray]:
    """A choice that keeps all."""
    return dict(select(network, PruneOptions(channels=0.0)).kept)


def largest_error(small: DarknetNetwork, full: DarknetNetwork, images: Iterable[Tensor]) -> float:
    """Of all heads, as a share of the full network's standard deviation."""
    with torch.no_grad():
        heads = [zip(small(batch), full(batch), strict=True) for batch in images]
    return max(float((mine - theirs).abs().max() / theirs.std()) for pairs in heads for mine, theirs in pairs)


@pytest.mark.parametrize("conv", [2, 8, 18])  # the first two before pooling, the second read twice, the last upsampled
def test_a_twin_is_told_by_its_twin(conv: int) -> None:
    """A channel that says what another one says is cut and nothing is lost, inside or at the border."""
    network = tiny()
    layer, bn = network.convolution(conv), network.batch_norm(conv)
    with torch.no_grad():
        bn.weight[0] = 5.0
        for values in (layer.conv.weight, bn.weight, bn.bias, bn.running_mean, bn.running_var):
            assert values is not None
            values[1] = values[0]
    kept = everything(network)
    kept[conv] = kept[conv].copy()
    kept[conv][1] = False
    selection, before = Selection((), kept), copy.deepcopy(network.state_dict())
    images = pictures(network)
    told = reconstructed(network, selection, images)
    mine = largest_error(compact(told, selection), network, images)
    assert mine < 0.05 and mine < largest_error(compact(silenced(network, selection), selection), network, images) / 2
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())


def test_a_channel_that_does_not_vary_is_told_by_its_constant() -> None:
    """As folding does, and told by nothing else."""
    network = tiny()
    with torch.no_grad():
        network.batch_norm(2).weight[1] = 0.0
        network.batch_norm(2).bias[1] = 0.7
    kept = everything(network)
    kept[2] = kept[2].copy()
    kept[2][1] = False
    selection = Selection((), kept)
    told, folded = reconstructed(network, selection, pictures(network)), silenced(network, selection)
    mine, theirs = (each.batch_norm(4).running_mean for each in (told, folded))
    assert mine is not None and theirs is not None
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    others = torch.from_numpy(kept[2])
    weights = [each.convolution(4).conv.weight[:, others] for each in (told, network)]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-5)


def test_random_networks_lose_less() -> None:
    """With shortcuts, routes, pyramids and heads of all kinds; the compact network equals the masked one, as ever."""
    ratios = []
    for seed in range(24):
        network = randomise(DarknetNetwork(random_cfg(seed, more=MORE if seed % 2 else ())), seed)
        images = pictures(network)
        options = PruneOptions(channels=0.3, blocks=min(seed % 2, len(removable_blocks(network.cfg))), min_channels=1)
        told, folded = prune(network, options, lambda images=images: images), prune(network, options)
        for conv, mask in told.selection.kept.items():
            assert np.array_equal(mask, folded.selection.kept[conv])
        assert told.report.compact_vs_masked_max_abs <= 1e-4
        if folded.report.gamma_removed_share:
            ratios.append(mean_square(told.network, network, images) / mean_square(folded.network, network, images))
    assert len(ratios) > 12
    assert np.median(ratios) < 0.8 and np.mean(np.array(ratios) < 1) > 0.8


def mean_square(small: DarknetNetwork, full: DarknetNetwork, images: Iterable[Tensor]) -> float:
    """Error of the heads."""
    with torch.no_grad():
        pairs = [pair for batch in images for pair in zip(small(batch), full(batch), strict=True)]
    return float(torch.stack([(mine - theirs).square().mean() for mine, theirs in pairs]).mean())


def test_nothing_is_asked_of_pictures_where_nothing_at_work_goes() -> None:
    """As after sparse training: the cut is exact without."""
    network = tiny()
    options = PruneOptions(channels=0.5)
    silence_cut(network, select(network, options))
    asked: Callable[[], Iterable[Tensor]] = lambda: pytest.fail("asked for pictures")  # noqa: E731
    told, folded = prune(network, options, asked).network.state_dict(), prune(network, options).network.state_dict()
    assert all(torch.equal(value, folded[name]) for name, value in told.items())
