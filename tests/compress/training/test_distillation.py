"""Distillation."""

from __future__ import annotations

import copy

import pytest
import torch

from board_app.core.errors import InputError
from compress.darknet.network import DarknetNetwork
from compress.darknet.topologies import with_classes
from compress.training.batch import Batch
from compress.training.distillation import Distillation


def batch(images: torch.Tensor) -> Batch:
    return Batch(images, torch.zeros((0, 6)), torch.arange(len(images)))


def test_a_student_that_equals_its_teacher_pays_least(network) -> None:
    """Any other student pays more, and the teacher gets no gradient."""
    teacher = copy.deepcopy(network).eval()
    x = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    hook = Distillation(network, teacher, weight=1.0)
    with torch.no_grad():
        equal = hook.extra_loss(batch(x), teacher(x))["teacher"]
    heads = [head + 0.5 for head in network.train()(x)]
    loss = hook.extra_loss(batch(x), heads)["teacher"]
    assert loss > equal
    loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert any(parameter.grad is not None for parameter in network.parameters())


def test_the_weight_scales_the_term(network) -> None:
    """Twice the weight, twice the term."""
    teacher = copy.deepcopy(network).eval()
    x = torch.zeros(1, 3, 64, 96)
    with torch.no_grad():
        heads = network.eval()(x)
        one, two = (Distillation(network, teacher, weight).extra_loss(batch(x), heads) for weight in (1.0, 2.0))
    torch.testing.assert_close(2 * one["teacher"], two["teacher"])


def test_other_heads_are_refused(network) -> None:
    """The message shows both."""
    other = DarknetNetwork(with_classes(network.cfg, 2))
    with pytest.raises(InputError, match="student's heads.*Name the stage"):
        Distillation(network, other, 1.0)
