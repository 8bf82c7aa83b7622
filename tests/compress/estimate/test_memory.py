"""What a training step keeps in memory."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from compress.estimate.memory import available_bytes, forget_peak, kept_for_backward, peak


@pytest.mark.parametrize(("images", "side"), [(1, 8), (2, 8), (3, 16)])
def test_what_is_kept_are_the_inputs_of_what_has_gradients(images: int, side: int) -> None:
    """A convolution keeps its input, a leaky unit its own; parameters are there anyway."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LeakyReLU(0.1), nn.Conv2d(4, 2, 1))
    pixels = images * side * side
    assert kept_for_backward(network, torch.zeros(images, 3, side, side)) == 4 * pixels * (3 + 4 + 4)


def test_nothing_of_it_stays() -> None:
    """A node that saves its own output, as an exponential does, is freed with the rest."""
    network = Exponential()
    factor = weakref.ref(network.factor)
    kept_for_backward(network, torch.zeros(1, 3, 8, 8))
    del network
    gc.collect()
    assert factor() is None


class Exponential(nn.Module):
    """Its gradient needs its result."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.factor * x).exp()


def test_the_peak_is_that_since_it_was_forgotten() -> None:
    """It holds what is there no more, and less than the machine has."""
    forget_peak()
    before = peak().process_bytes
    block = np.ones(80_000_000, np.uint8)
    del block
    assert before + 60_000_000 < peak().process_bytes < before + available_bytes()
