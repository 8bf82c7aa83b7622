"""The pruned network with the weights of [network] in it, cut alike.

What is left of a pretrained network then learns the task once more, from weights that no training pictures have worn:
where those are few, training has taken general features for the pictures' own. The channels stay those that the prune
stage chose, and what the pretrained file does not have, the heads, stays as the pruned network has it. In the
pretrained network the others are at work, so what stays makes up for them (compress.pruning.reconstruction).

Source: Renda, Frankle & Carbin, Comparing rewinding and fine-tuning in neural network pruning, arXiv:2003.02389.
"""

from __future__ import annotations

import logging
from functools import partial

from board_app.core.errors import InputError
from compress.darknet.network import DarknetNetwork
from compress.darknet.weights import load_weights
from compress.pruning.recalibration import recalibrate, training_batches
from compress.pruning.reconstruction import reconstructed
from compress.pruning.selection_file import read_selection
from compress.pruning.surgery import compact
from compress.stages.folder import KEPT
from compress.stages.run import Run

log = logging.getLogger(__name__)


def rewound(run: Run) -> DarknetNetwork:
    """The network that the prune stage left, in eval mode, with `network.weights` of the config in it.

    Raises:
        InputError: the finished cut is of another network or other settings than the run's, or the weights are
            of another cfg.
    """
    made = run.folder("prune").finished()
    wanted = run.network_hashes(run.uncut), run.config.prune.result_settings()
    if (made["inputs"].get(run.uncut), made["settings"]["prune"]) != wanted:
        raise InputError(
            f"{run.folder('prune').path}: expected the cut that [prune] asks for, of this run's own network, found "
            "one of another network or other settings. Make it again: `roadslim prune CONFIG`"
        )
    network = run.load_network(run.uncut)
    selection = read_selection(run.folder("prune").path / KEPT, network.cfg)
    weights = run.config.network.weights
    assert weights is not None  # as the config was checked for
    load_weights(network, weights, partial=True)
    log.info("rewound to %s, with the channels and heads of the pruned network", weights)
    images = run.config.prune.recalibration_images
    if images:
        pictures = partial(training_batches, run.images(augmented=False), images)
        recalibrate(network, pictures())  # the file's statistics are of other pictures
        network = reconstructed(network, selection, pictures())
    return compact(network, selection)
