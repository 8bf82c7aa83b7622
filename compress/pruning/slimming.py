"""Network slimming as it was published for YOLOv3: the way to compare with.

All |gamma| of the prunable convolutions are ranked together and the share below one threshold goes; a layer keeps at
least its largest `min_share`, and one; where shortcuts add layers, a channel stays that stays in any of them. Then the
blocks of least mean |gamma|, as it was before the cut, go as wholes. Convolutions before an [upsample], before a
spatial pyramid of [maxpool]s and before a [route] with groups keep everything.

Sources: Liu et al., network slimming, arXiv:1708.06519; Zhang et al., SlimYOLOv3, arXiv:1907.11093.
"""

from __future__ import annotations

import numpy as np

from compress.darknet.cfg import Cfg, Section
from compress.darknet.network import DarknetNetwork
from compress.pruning.groups import channel_groups
from compress.pruning.importance import gammas, weakest_blocks
from compress.pruning.options import PruneOptions, Selection


def slim(network: DarknetNetwork, options: PruneOptions) -> Selection:
    """The channels and then the blocks; the network is not changed.

    Raises:
        InputError: there are fewer blocks than asked for.
    """
    cfg, groups = network.cfg, channel_groups(network.cfg)
    blocks = weakest_blocks(network, options.block_count or 0)
    convs = [conv for group in groups if group.prunable for conv in group.members if _is_cut(cfg, conv)]
    scales = {conv: gammas(network, conv) for conv in sorted(convs)}
    alive = _above_threshold(scales, options.channels)
    for conv, scale in scales.items():
        least = max(1, int(len(scale) * options.min_share))
        alive[conv][np.argsort(-scale, kind="stable")[:least]] = True
    gone = {conv for block in blocks for conv in (block.first_conv, block.second_conv)}
    kept: dict[int, np.ndarray] = {}
    for group in groups:
        whole = np.ones(group.channels, bool)
        tied = np.concatenate([alive.get(conv, whole).reshape(group.parts, -1) for conv in group.members]).any(0)
        for conv in group.members:
            kept[conv] = np.tile(tied, group.parts) & (conv not in gone)
    return Selection(blocks, kept)


def _above_threshold(scales: dict[int, np.ndarray], share: float) -> dict[int, np.ndarray]:
    """Which channels lie above the one at that share of all, by rank: of equal ones the earlier are below."""
    if not scales:
        return {}
    merged = np.concatenate(list(scales.values()))
    above = np.ones(len(merged), bool)
    above[np.argsort(merged, kind="stable")[: int(len(merged) * share) + 1]] = False
    ends = np.cumsum([len(scale) for scale in scales.values()])
    return dict(zip(scales, np.split(above, ends[:-1]), strict=True))


def _is_cut(cfg: Cfg, conv: int) -> bool:
    """Whether what follows the convolution lets it be cut."""
    following = (*cfg.layers[conv + 1 : conv + 3], Section("end", {}), Section("end", {}))
    first, second = following[:2]
    pyramid = first.type == "maxpool" and second.type == "route"
    divided = first.type == "route" and "groups" in first.options
    return not (first.type == "upsample" or pyramid or divided)
