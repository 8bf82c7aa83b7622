"""The teacher's answers."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from board_app.core.errors import InputError
from compress.darknet.fold import folded
from compress.darknet.network import DarknetNetwork
from compress.darknet.topologies import with_anchors, with_classes
from compress.training import teacher as teacher_module
from compress.training.batch import Batch
from compress.training.teacher import Teacher


def batch(count: int = 4, plain: bool = True, first: int = 0) -> Batch:
    """Pictures that follow from their indices."""
    indices = torch.arange(first, first + count)
    pictures = [torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(int(index))) for index in indices]
    return Batch(torch.stack(pictures), torch.zeros(0, 6), indices, plain)


def trained(network: DarknetNetwork) -> DarknetNetwork:
    """With BN statistics and scales of its own."""
    generator = torch.Generator().manual_seed(5)
    for name, values in network.state_dict().items():
        if ".bn." in name and values.is_floating_point():
            values.copy_(0.5 + torch.rand(values.shape, generator=generator))
    return network


class Counting(torch.nn.Module):
    """Counts how many pictures go through a network."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.pictures = network, 0

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        self.pictures += len(images)
        return self.network(images)


def test_it_answers_as_the_network_does_without_gradients(network) -> None:
    """Folding changes rounding only; the given network stays as it was, in training mode."""
    network = trained(network).train()
    before = copy.deepcopy(network.state_dict())
    answer = Teacher(network, network.heads).answer(batch())
    assert network.training and all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    for mine, theirs in zip(answer.raw_heads, network.eval()(batch().images), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
        assert not mine.requires_grad and not mine.is_inference()
    for attention in answer.attention:
        torch.testing.assert_close(attention.norm(dim=1), torch.ones(4))


def test_in_half_precision_it_answers_nearly_the_same_in_float32(network) -> None:
    """Its products are rounded to 8 bits; what it gives is float32, and free of the graph."""
    exact, rounded = (Teacher(network, network.heads, precision).answer(batch()) for precision in ("float32", "bf16"))
    for mine, theirs in zip(exact.raw_heads, rounded.raw_heads, strict=True):
        assert theirs.dtype == torch.float32 and not theirs.requires_grad and not torch.equal(mine, theirs)
        torch.testing.assert_close(mine, theirs, atol=0.05 * float(mine.abs().max()), rtol=0.05)


def test_a_folded_network_has_no_batch_normalisation(network) -> None:
    """Every convolution has a bias instead."""
    names = set(folded(network).state_dict())
    assert not any(".bn." in name for name in names)
    assert sum(name.endswith("conv.bias") for name in names) == sum(name.endswith("conv.weight") for name in names)


@pytest.mark.parametrize(("plain", "asked"), [(True, 8), (False, 16)])
def test_answers_to_plain_pictures_are_kept(network, plain: bool, asked: int) -> None:
    """A second epoch in another order asks nothing and gives the same to the bit; varied pictures are asked about."""
    teacher = Teacher(trained(network), network.heads)
    counting = Counting(teacher._network)
    counting.heads = teacher._network.heads
    teacher._network = counting
    first = [teacher.answer(batch(4, plain, start)) for start in (0, 4)]
    again = teacher.answer(batch(8, plain))
    assert counting.pictures == asked
    for position, values in enumerate(again.raw_heads):
        parts = torch.cat([answer.raw_heads[position] for answer in first])
        torch.testing.assert_close(values, parts, **({"rtol": 0, "atol": 0} if plain else {}))


def test_the_cache_has_a_limit(network, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is asked about again, with the same answer."""
    monkeypatch.setattr(teacher_module, "CACHE_LIMIT_BYTES", 20_000)
    teacher = Teacher(trained(network), network.heads)
    answers = [teacher.answer(batch(8)).raw_heads for _ in range(2)]
    assert 0 < len(teacher._kept) < 8 and teacher._kept_bytes <= 20_000
    for mine, theirs in zip(*answers, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_other_sizes_of_a_picture_have_other_answers(network) -> None:
    """A picture that comes at two sizes is kept at both."""
    teacher = Teacher(trained(network), network.heads)
    small = replace(batch(), images=batch().images[:, :, :32, :64])
    assert teacher.answer(batch()).raw_heads[0].shape != teacher.answer(small).raw_heads[0].shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cfg: with_classes(cfg, 2), "classes 2 instead of 6 in head 1; classes 2 instead of 6 in head 2"),
        (lambda cfg: with_anchors(cfg, [(9.0 + i, 9.0) for i in range(6)]), "anchors .* in head 1; anchors"),
    ],
)
def test_other_heads_are_refused(network, change, message: str) -> None:
    """The message names all that differs, and what to do."""
    other = DarknetNetwork(change(network.cfg))
    with pytest.raises(InputError, match=f"student's heads, found {message}.*Name a network"):
        Teacher(other, network.heads)


def test_another_number_of_heads_is_refused(network) -> None:
    """One head is not compared with two."""
    with pytest.raises(InputError, match="found 2 heads instead of 1"):
        Teacher(network, network.heads[:1])
