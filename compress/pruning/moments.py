"""How the channels that convolutions read vary together over pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from compress.darknet.network import DarknetNetwork


class Moments:
    """Mean (C,) and covariance (C, C) of a map's channels over all pixels of all pictures, float64 on the CPU.

    Maps are summed up around the first one's mean, so that float32 products lose nothing to a large mean.

    Attributes:
        pixels: how many there were.
    """

    def __init__(self) -> None:
        self._shift: Tensor | None = None
        self.pixels, self._sum, self._products = 0, torch.tensor(0.0), torch.tensor(0.0)

    def add(self, maps: Tensor) -> None:
        """Maps (N, C, H, W)."""
        values = maps.detach().float().transpose(0, 1).flatten(1)  # (C, pixels)
        if self._shift is None:
            self._shift = values.mean(1, keepdim=True)
        values = values - self._shift
        self.pixels += values.shape[1]
        self._sum = self._sum + values.sum(1).double().cpu()
        self._products = self._products + (values @ values.T).double().cpu()

    @property
    def mean(self) -> Tensor:
        assert self._shift is not None
        return self._shift.flatten().double().cpu() + self._sum / self.pixels

    @property
    def covariance(self) -> Tensor:
        mean = self._sum / self.pixels
        return self._products / self.pixels - mean.outer(mean)


@torch.no_grad()
def moments_of_inputs(
    network: DarknetNetwork, convs: Iterable[int], batches: Iterable[Tensor]
) -> Mapping[int, Moments]:
    """What these convolutions read, of those that a head needs, in one run over the pictures.

    Args:
        network: is in evaluation mode afterwards.
        convs: layer indices.
        batches: pictures, float32 (N, 3, H, W) in 0..1.
    """
    network.eval()
    device = next(network.parameters()).device
    moments = {conv: Moments() for conv in convs}

    def listen(conv: int, layer: nn.Module, read: tuple[Tensor, ...]) -> None:
        moments[conv].add(read[0])

    hooks = [network.convolution(conv).register_forward_pre_hook(partial(listen, conv)) for conv in moments]
    try:
        for batch in batches:
            network(batch.to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return {conv: of_input for conv, of_input in moments.items() if of_input.pixels}  # no head needs the others
