"""nndct's rules that no reference case shows, each on the smallest network that does, recomputed in plain words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.darknet.cfg import parse_cfg
from compress.darknet.network import DarknetNetwork
from compress.quantization import QuantizedNetwork, quantize
from compress.quantization.equalization import equalize
from compress.quantization.grid_network import GridNetwork
from compress.quantization.plan import plan_of
from compress.quantization.positions import fake_quantize, half_away, half_up
from compress.quantization.quantizer import float_parameters

HEAD = "[convolutional]\nfilters=6\nsize=1\nactivation=linear\n[yolo]\nmask=0\nanchors=10,14\nclasses=1\nnum=1\n"


def conv(activation: str = "leaky", filters: int = 6, size: int = 3) -> str:
    """A convolution with a bias of its own."""
    return f"[convolutional]\nfilters={filters}\nsize={size}\npad=1\nactivation={activation}\n"


def network_of(*sections: str) -> DarknetNetwork:
    """A network of 16 x 16 pixels with random weights and a head."""
    text = "[net]\nwidth=16\nheight=16\nchannels=3\nleaky_slope=0.1015625\n" + "".join(sections) + HEAD
    torch.manual_seed(4)
    return DarknetNetwork(parse_cfg(text, "net")).eval()


def image(largest: float = 1.0, seed: int = 1, count: int = 2) -> torch.Tensor:
    """Random images whose largest value is known."""
    pixels = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * largest
    pixels.view(-1)[7] = largest
    return pixels


def outputs(quantized: QuantizedNetwork) -> dict[int, int]:
    """Fix points of activations by cfg layer."""
    return {quantized.plan.nodes[index].layer: found for index, found in quantized.fix_points.outputs.items()}


@pytest.mark.parametrize(("largest", "expected"), [(1.0, 6), (0.99, 7), (0.25, 8), (2.0**-8, 12), (0.0, 12)])
def test_input_takes_the_first_fix_point(largest: float, expected: int) -> None:
    """The input is not searched on: the finest fix point that saturates nothing, at most 12, and 12 for zeros."""
    pixels = image(1.0) ** 8 * largest  # so few large ones that a search would go on
    quantized = quantize(network_of(conv()), [pixels])
    assert outputs(quantized)[-1] == expected
    assert quantized.history[-1] == (expected,)


def test_dead_layer_gets_twelve() -> None:
    """Weights, biases and activations that are all zero have fix point 12, before the shift limits."""
    network = network_of(conv("relu"), conv())
    with torch.no_grad():
        network.convolution(0).conv.weight.zero_()
        network.convolution(0).conv.bias.zero_()  # type: ignore[union-attr]
    quantized = quantize(network, [image()], bias_correction=False)
    assert quantized.history[0] == (12,)
    index = quantized.plan.by_layer[0].index
    assert quantized.fix_points.biases[index] == 12
    # cut = 12 + 6 - 12 = 6 is within 0..16, bias shift 12 + 6 - 12 too
    assert (quantized.fix_points.weights[index], quantized.fix_points.outputs[index]) == (12, 12)


def test_small_weights_stop_at_twelve() -> None:
    """However small the weights, their fix point is 12; they keep what that leaves of them."""
    network = network_of(conv())
    with torch.no_grad():
        network.convolution(0).conv.weight.mul_(2.0**-10)
    quantized = quantize(network, [image()], bias_correction=False)
    integers = quantized.convolutions[0].weight
    assert quantized.convolutions[0].weight_fix_point == 12
    expected = fake_quantize(network.convolution(0).conv.weight.detach(), 12, half_away) * 2.0**12
    np.testing.assert_array_equal(integers, expected.permute(0, 2, 3, 1).numpy())
    assert np.abs(integers).max() < 8


def test_a_tie_of_the_votes_takes_the_smaller() -> None:
    """Two batches with different ranges vote once each; the smaller fix point wins in either order."""
    network = network_of(conv())
    wide, narrow = image(1.0), image(0.4)
    assert quantize(network, [wide, narrow]).history[-1] == (6, 8)
    assert outputs(quantize(network, [wide, narrow]))[-1] == 6
    assert outputs(quantize(network, [narrow, wide]))[-1] == 6
    assert outputs(quantize(network, [narrow, wide, narrow]))[-1] == 8


def test_votes_count_at_once() -> None:
    """What a layer votes in a forward follows from the input rounded by the votes up to that one, not the last."""
    network = network_of(conv())
    narrow, wide = image(0.004, seed=2), image(1.0, seed=3)
    run = quantize(network, [wide, wide, narrow], bias_correction=False)
    assert run.history[-1] == (6, 6, 12)
    # in the third forward the input is rounded at 6, where nothing of it is left: the layer sees its bias alone
    index = run.plan.by_layer[0].index
    _, bias = float_parameters(run.plan, network)[index]
    alone = torch.nn.functional.leaky_relu(fake_quantize(bias, run.fix_points.biases[index], half_away), 26 / 256)
    largest = max(alone.max().item() / 127.5, alone.min().item() / -128.5)
    first = min(12, int(np.floor(np.log2(1 / largest))))
    assert first <= run.history[0][2] <= min(12, first + 4)


def test_parameters_do_not_depend_on_the_batches() -> None:
    """Weights and biases are searched on themselves."""
    network = network_of(conv(), conv())
    first = quantize(network, [image(1.0)], bias_correction=False)
    second = quantize(network, [image(0.9, seed=5), image(0.8, seed=6)], bias_correction=False)
    for layer, convolution in first.convolutions.items():
        np.testing.assert_array_equal(convolution.weight, second.convolutions[layer].weight)


def test_bias_corrections_add_up_off_the_grid() -> None:
    """After two forwards the bias has moved by a twentieth of both mean errors, the second with the moved bias."""
    network = network_of()  # the head alone: its error counts after it is rounded
    batches = [image(1.0, seed=1), image(0.9, seed=2)]
    plain = quantize(network, batches, bias_correction=False)
    corrected = quantize(network, batches)
    plan = plain.plan
    index = plan.heads[0]
    weight, bias = float_parameters(plan, network)[index]
    rounded = fake_quantize(weight, plain.fix_points.weights[index], half_away)
    moved = fake_quantize(bias, plain.fix_points.biases[index], half_away)
    votes = corrected.history
    for forward, batch in enumerate(batches):
        x = fake_quantize(batch, min(votes[-1][: forward + 1]), half_up)
        output = torch.nn.functional.conv2d(x, rounded, moved)
        output = fake_quantize(output, min(votes[0][: forward + 1]), half_up)
        error = output - torch.nn.functional.conv2d(x, weight, bias)
        moved = moved - 0.05 * error.mean(dim=(0, 2, 3))
    found = corrected.convolutions[0]
    expected = fake_quantize(bias - (bias - moved), found.bias_fix_point, half_away) * 2.0**found.bias_fix_point
    np.testing.assert_array_equal(found.bias, expected.numpy())


@pytest.mark.parametrize(
    ("between", "follows"),
    [
        ("", True),
        ("[maxpool]\nsize=2\nstride=1\n", True),
        ("[route]\nlayers=-1\n", True),  # passes on, no operator
        ("[route]\nlayers=-1\n[maxpool]\nsize=3\nstride=1\n", True),
        ("[upsample]\nstride=2\n[maxpool]\nsize=2\nstride=2\n", False),
        ("[route]\nlayers=-1,-1\n", False),
        ("[shortcut]\nfrom=-1\nactivation=linear\n", False),
    ],
)
@pytest.mark.parametrize("activation", ["relu", "linear", "leaky"])
def test_equalisation_goes_along_pooling_only(activation: str, between: str, follows: bool) -> None:
    """A chain passes ReLU, no activation and pooling, and nothing else."""
    network = network_of(conv(activation), between, conv("leaky"))
    plan = plan_of(network.cfg, tuple(head.layer for head in network.heads))
    before = float_parameters(plan, network)
    for index in before:
        before[index][0].mul_(20)  # large enough for every channel
    after = equalize(plan, before)
    first = plan.by_layer[0].index
    assert torch.equal(after[first][0], before[first][0]) is not (follows and activation != "leaky")


def test_equalisation_leaves_small_channels() -> None:
    """Where the ranges of a channel sum up to less than one half, or one is zero, it stays."""
    network = network_of(conv("relu"), conv("relu"))
    plan = plan_of(network.cfg, tuple(head.layer for head in network.heads))
    parameters = float_parameters(plan, network)
    first, second = plan.by_layer[0].index, plan.by_layer[1].index
    weight, bias = parameters[first]
    bias.zero_()
    weight.fill_(0.2)
    parameters[second][0].fill_(0.2)  # 0.2 + 0.2 < 0.5 in every channel
    parameters[second][0][:, 1] = 1.8  # sqrt(0.2 * 1.8) = 0.6
    parameters[second][0][:, 2] = 0.0
    after = equalize(plan, parameters)
    expected = torch.full((6,), 0.2)
    expected[1] = 0.6
    torch.testing.assert_close(after[first][0].amax(dim=(1, 2, 3)), expected)


def test_adds_that_feed_adds_have_fix_points_of_their_own() -> None:
    """Every sum is searched and rounded, one after the other; nothing is aligned."""
    network = network_of(
        conv(), conv(), "[shortcut]\nfrom=-2\nactivation=linear\n", "[shortcut]\nfrom=0\nactivation=linear\n"
    )
    quantized = quantize(network, [image()])
    x = image(seed=9, count=1)
    tensors = quantized.forward_int8(x)
    at = outputs(quantized)

    def value(name: str, layer: int) -> np.ndarray:
        return tensors[name].astype(float) * 2.0 ** -at[layer]

    first = value("leaky_relu1_fix", 1) + value("leaky_relu0_fix", 0)
    expected = np.clip(np.floor(first * 2.0 ** at[2] + 0.5), -128, 127)
    np.testing.assert_array_equal(tensors["add2_fix"], expected)
    second = expected * 2.0 ** -at[2] + value("leaky_relu0_fix", 0)
    np.testing.assert_array_equal(tensors["add3_fix"], np.clip(np.floor(second * 2.0 ** at[3] + 0.5), -128, 127))


def test_concatenation_of_a_concatenation_rounds_once() -> None:
    """Inputs of a concatenation that only another one reads are rounded by the last."""
    network = network_of(conv(), conv(), "[route]\nlayers=-1,-1\n", "[route]\nlayers=-1,0\n")
    plan = plan_of(network.cfg, tuple(head.layer for head in network.heads))
    last = plan.by_layer[3].index
    owners = {layer: plan.fix_point_owner[node.index] for layer, node in plan.by_layer.items()}
    assert (owners[1], owners[2], owners[3]) == (last, last, last)
    assert owners[0] == plan.by_layer[0].index  # read by a convolution too


def test_training_on_the_grid_starts_from_the_equalised_parameters() -> None:
    """With ReLU chains too the untrained grid network is the int8 network that it was made from."""
    network = network_of(conv("relu"), conv("relu"))
    quantized = quantize(network, [image()], bias_correction=False)
    again = GridNetwork(network, quantized).quantized()
    for layer, convolution in quantized.convolutions.items():
        np.testing.assert_array_equal(again.convolutions[layer].weight, convolution.weight)
