"""Where in the picture a network looks: one map for every head, comparable between networks of any widths.

Source: Zagoruyko & Komodakis, Paying more attention to attention, arXiv:1612.03928 (sums of squares over channels).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from compress.darknet.network import DarknetNetwork


class AttentionMaps:
    """Keeps what the head convolutions of a network read in its last forward pass.

    Args:
        network: is listened to from now on.
    """

    def __init__(self, network: DarknetNetwork) -> None:
        self._read: dict[int, Tensor] = {}
        self._layers = [head.layer for head in network.heads]
        for layer in self._layers:
            network.layers[layer].register_forward_pre_hook(self._keeper(layer))

    def _keeper(self, layer: int) -> Any:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._read[layer] = inputs[0]

        return keep

    def take(self) -> list[Tensor]:
        """Of each head the map of the last forward pass (N, H*W), each picture's of length 1; forgets the pass."""
        read, self._read = self._read, {}
        return [normalize(read[layer].float().square().sum(1).flatten(1)) for layer in self._layers]
