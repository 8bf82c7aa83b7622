"""Networks with made-up BN scales and no weights, as choosing what to cut needs no more, and what a choice leaves."""

from __future__ import annotations

import torch

from compress.darknet.cfg import Cfg
from compress.darknet.cost import dpu_layers, gmacs, parameter_count
from compress.darknet.network import DarknetNetwork
from compress.pruning import Selection, channel_groups
from compress.pruning.selection import selected_cfg
from dpu.latency import predict


def with_scales(cfg: Cfg, seed: int = 0, share_zero: float = 0.0, agreeing: bool = False) -> DarknetNetwork:
    """The cfg with many small and few large gammas; that share of gammas and betas is 0.

    With `agreeing`, convolutions that shortcuts tie have the same ones.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        network = DarknetNetwork(cfg).eval()
    for group in channel_groups(cfg):
        scale: torch.Tensor | None = None
        for conv in group.members:
            bn = network.convolution(conv).bn
            if bn is None:
                continue
            bn.to_empty(device="cpu")
            if scale is None or not agreeing:
                scale = torch.rand(group.channels, generator=generator) ** 4
                scale = scale * (torch.rand(group.channels, generator=generator) >= share_zero)
            with torch.no_grad():
                bn.weight.copy_(scale)
                bn.bias.copy_(0.3 * torch.randn(group.channels, generator=generator) * (scale > 0))
    return network


@torch.no_grad()
def silence_cut(network: DarknetNetwork, selection: Selection) -> None:
    """Set gamma and beta of what a selection cuts to 0, as sparse training leaves them; in place."""
    for conv, kept in selection.kept.items():
        bn = network.convolution(conv).bn
        if bn is not None:
            bn.weight.mul_(torch.from_numpy(kept))
            bn.bias.mul_(torch.from_numpy(kept))


def costs(cfg: Cfg, board: str = "zcu104") -> tuple[int, float, float]:
    """Parameters, GMACs and predicted milliseconds."""
    return parameter_count(cfg), gmacs(cfg), predict(dpu_layers(cfg), board).dpu_ms


def costs_after(network: DarknetNetwork, selection: Selection, board: str = "zcu104") -> tuple[int, float, float]:
    """The same of what a selection leaves."""
    return costs(selected_cfg(network.cfg, selection)[0], board)


def kept_scales(network: DarknetNetwork, selection: Selection) -> float:
    """The sum of |gamma| that is kept; of removed blocks nothing is."""
    total = 0.0
    for conv, kept in selection.kept.items():
        bn = network.convolution(conv).bn
        if bn is not None:
            total += float(bn.weight.detach().abs()[torch.from_numpy(kept)].sum())
    return total
