"""compress.pruning.explained: channels by what they explain of what is read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from board_app.core.errors import UsageError
from compress.darknet.cfg import parse_cfg
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import MORE, random_cfg, randomise
from compress.darknet.topologies import yolov3_cfg, yolov3_tiny_cfg
from compress.pruning import PruneOptions, channel_groups, prune, removable_blocks, select
from compress.pruning.explained import explained_importance
from compress.pruning.importance import weakest_blocks
from compress.pruning.pruner import PruneResult
from compress.pruning.testing import costs


def convolution(filters: int, size: int = 3, activation: str = "leaky", batch_normalize: int = 1) -> str:
    """A section of a cfg."""
    return (
        f"[convolutional]\nbatch_normalize={batch_normalize}\nfilters={filters}\nsize={size}\npad=1\n"
        f"activation={activation}\n"
    )


def detector(*layers: str) -> DarknetNetwork:
    """A lively network with these layers before its head."""
    cfg = "[net]\nwidth=32\nheight=32\nchannels=3\n" + "".join(layers)
    cfg += "[yolo]\nanchors=8,8\nclasses=2\nnum=1\nmask=0\n"
    return randomise(DarknetNetwork(parse_cfg(cfg, "small"))).eval()


def smooth(network: DarknetNetwork, count: int = 8) -> list[Tensor]:
    """Batches of smooth noise."""
    generator = torch.Generator().manual_seed(1)
    height, width = network.cfg.input_hw
    coarse = torch.rand(count, network.cfg.input_channels, height // 4, width // 4, generator=generator)
    return list(torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").split(3))


def tiny() -> DarknetNetwork:
    return randomise(DarknetNetwork(yolov3_tiny_cfg(2, (64, 96), 0.125))).eval()


def left_unexplained(read: np.ndarray, chosen: list[int]) -> float:
    """Of centred columns (pixels, C) what no sum of the chosen ones tells, as numpy's least squares has it."""
    if not chosen:
        return float((read**2).sum())
    told = read[:, chosen] @ np.linalg.lstsq(read[:, chosen], read, rcond=None)[0]
    return float(((read - told) ** 2).sum())


def test_each_choice_leaves_least_unexplained() -> None:
    """Tried one by one, read times the reader's weights; it is worth what it explains, or no more than the last one."""
    network = detector(convolution(6), convolution(7, activation="linear", batch_normalize=0))
    pictures = smooth(network)
    with torch.no_grad():
        maps = network.forward_layers(torch.cat(pictures))[0].double()
    norms = network.convolution(1).conv.weight.detach().double().pow(2).sum((0, 2, 3)).sqrt()
    read = maps.transpose(0, 1).flatten(1).T.numpy() * norms.numpy()
    read = read - read.mean(0)
    importance = explained_importance(network, pictures)[0]
    chosen: list[int] = []
    least = 1.0
    for channel in np.argsort(-importance):
        before = left_unexplained(read, chosen)
        after = {c: left_unexplained(read, [*chosen, c]) for c in range(6) if c not in chosen}
        assert after[channel] <= min(after.values()) * (1 + 1e-4)
        share = (before - after[channel]) / left_unexplained(read, [])
        least = min(least, share)
        assert importance[channel] == pytest.approx(least, rel=1e-3, abs=1e-6)
        chosen.append(int(channel))


def test_of_twins_one_counts() -> None:
    """By |gamma| both would; what never varies counts nothing either."""
    network = tiny()
    layer, bn = network.convolution(2), network.batch_norm(2)
    with torch.no_grad():
        bn.weight[0], bn.weight[2] = 5.0, 0.0
        for values in (layer.conv.weight, bn.weight, bn.bias, bn.running_mean, bn.running_var):
            assert values is not None
            values[1] = values[0]
    importance = explained_importance(network, smooth(network))[2]
    assert min(importance[:2]) < 1e-9 < 0.01 < max(importance[:2])
    assert importance[2] == 0 and np.count_nonzero(importance) == 6


@pytest.mark.parametrize("seed", range(8))
def test_random_networks(seed: int) -> None:
    """With shortcuts, routes, groups and pyramids: no unit counts less than nothing, all at most their readers."""
    network = randomise(DarknetNetwork(random_cfg(seed, more=MORE if seed % 2 else ())), seed).eval()
    importance = explained_importance(network, smooth(network))
    groups = channel_groups(network.cfg)
    for group in groups:
        members = [conv for conv in group.members if network.convolution(conv).bn is not None]
        total = sum(importance[conv].sum() for conv in members)
        assert all(importance[conv].shape == (group.channels,) and importance[conv].min() >= 0 for conv in members)
        assert 0 <= total < 2 * len(importance) and np.isfinite(total)
        if group.parts > 1:
            parts = sum(importance[conv] for conv in members).reshape(group.parts, -1)
            assert np.allclose(parts, parts[0])
    assert any(importance[group.members[0]].max() > 0 for group in groups if group.prunable)


def _cut(network: DarknetNetwork, importance: str, share: float, pictures: list[Tensor]) -> PruneResult:
    options = PruneOptions(target_params=int(share * costs(network.cfg)[0]), width_multiple=1)
    if importance == "reconstruction":
        options = PruneOptions(target_params=options.target_params, width_multiple=1, importance="reconstruction")
    return prune(network, options, lambda: pictures)


def test_a_target_is_met_and_less_is_lost_than_by_gamma() -> None:
    """Before any training, with least squares in both; the compact network equals the masked one."""
    ratios = []
    for seed in range(6):
        network = randomise(DarknetNetwork(yolov3_tiny_cfg(2, (64, 96), 0.125)), seed).eval()
        pictures = smooth(network)
        errors = []
        for importance in ("reconstruction", "gamma"):
            made = _cut(network, importance, 0.5, pictures)
            assert 0.98 * 0.5 * costs(network.cfg)[0] <= made.report.params_after <= 0.5 * costs(network.cfg)[0]
            assert made.report.compact_vs_masked_max_abs <= 1e-4
            with torch.no_grad():
                pairs = [pair for batch in pictures for pair in zip(made.network(batch), network(batch), strict=True)]
            errors.append(sum(float((mine - theirs).square().mean()) for mine, theirs in pairs))
        ratios.append(errors[0] / errors[1])
    assert np.median(ratios) < 0.9


def test_blocks_go_too() -> None:
    """A residual block that adds nothing is left out first."""
    cfg = next(cfg for seed in range(50) if removable_blocks(cfg := random_cfg(seed)))
    network = randomise(DarknetNetwork(cfg), 3).eval()
    block = removable_blocks(cfg)[0]
    with torch.no_grad():
        network.batch_norm(block.second_conv).weight.zero_()
        network.batch_norm(block.second_conv).bias.zero_()
    options = PruneOptions(target_params=int(0.9 * costs(cfg)[0]), importance="reconstruction", min_channels=1)
    assert block in select(network, options, lambda: smooth(network)).removed_blocks


@pytest.mark.parametrize(("gamma", "stays"), [(5.0, True), (0.0, False)])
def test_a_block_on_a_concat_counts_by_what_is_read_of_it(gamma: float, stays: bool) -> None:
    """Its shortcut ties nothing, so its second convolution is alone in its group, and read all the same."""
    network = detector(
        *(convolution(8), convolution(8), "[route]\nlayers=-1,-2\n"),
        *(convolution(24, 1), convolution(16, activation="linear"), "[shortcut]\nfrom=-3\nactivation=linear\n"),
        *(convolution(24), convolution(7, 1, "linear", 0)),
    )
    (block,) = removable_blocks(network.cfg)
    assert not next(group for group in channel_groups(network.cfg) if block.second_conv in group.members).prunable
    with torch.no_grad():
        network.batch_norm(block.second_conv).weight.fill_(gamma)
        network.batch_norm(block.second_conv).bias.zero_()
    importance = explained_importance(network, smooth(network))
    assert (importance[block.second_conv].sum() > 0.5) == stays
    target = int((0.9 if stays else 0.53) * costs(network.cfg)[0])  # the block is nearly a half
    options = PruneOptions(target_params=target, importance="reconstruction", width_multiple=1)
    removed = select(network, options, lambda: smooth(network)).removed_blocks
    assert removed == (() if stays else (block,))


def test_a_number_of_blocks_takes_those_that_explain_least() -> None:
    """Scales alone say another one."""
    cfg = yolov3_cfg(2, (32, 32), 0.125)
    network = randomise(DarknetNetwork(cfg), 3).eval()
    importance = explained_importance(network, smooth(network))
    least = min(removable_blocks(cfg), key=lambda block: float(importance[block.second_conv].mean()))
    assert weakest_blocks(network, 1) != (least,)
    options = PruneOptions(target_params=costs(cfg)[0], importance="reconstruction", blocks=1)
    assert select(network, options, lambda: smooth(network)).removed_blocks == (least,)


def test_it_needs_pictures_and_a_target() -> None:
    """And says which."""
    network = tiny()
    with pytest.raises(UsageError, match="expected pictures beside 'reconstruction', found none. Name a folder"):
        select(network, PruneOptions(target_params=9000, importance="reconstruction"))
    with pytest.raises(UsageError, match="expected method 'cost' and a target beside .* found 'cost' and none"):
        PruneOptions(importance="reconstruction")
    with pytest.raises(UsageError, match="importance: expected gamma or reconstruction, found 'luck'"):
        PruneOptions(importance="luck")  # type: ignore[arg-type]
