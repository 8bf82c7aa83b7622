"""The pruned network with the weights that the whole run started from, cut alike.

What is left of a pretrained network then learns the task once more, from weights that no training pictures have worn:
where those are few, the sparse training has taken general features for the pictures' own. The channels stay those that
the sparse training chose, and what the pretrained file does not have, the heads, stays as it was pruned.

Source: Renda, Frankle & Carbin, Comparing rewinding and fine-tuning in neural network pruning, arXiv:2003.02389.
"""

from __future__ import annotations

from board_app.core.errors import InputError
from compress.darknet.cfg import cfg_text
from compress.darknet.network import DarknetNetwork
from compress.darknet.weights import load_weights
from compress.pruning import select
from compress.pruning.surgery import compact
from compress.stages.cut import prune_options
from compress.stages.run import Run


def rewound(run: Run) -> DarknetNetwork:
    """The network that the prune stage left, in eval mode, with `network.weights` of the config in it.

    Raises:
        InputError: the prune stage left other widths than its settings say.
    """
    network, pruned = run.load_network("sparsify"), run.load_network("prune")
    selection = select(network, prune_options(run.config.prune))
    weights = run.config.network.weights
    assert weights is not None  # as the config was checked for
    load_weights(network, weights, partial=True)
    small = compact(network, selection)
    if cfg_text(small.cfg) != cfg_text(pruned.cfg):
        raise InputError(
            "distill: expected the pruned network to have the widths that [prune] asks for, found others. Run that "
            "stage again: --fresh prune"
        )
    return small
