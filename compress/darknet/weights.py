"""A network's numbers from a file and into one: Darknet's .weights, or .safetensors by its suffix.

Both hold the same numbers and the same header: from one to the other and back no byte changes.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Dict

import numpy as np
import torch

from board_app.core.atomic_file import PathLike
from board_app.core.errors import InputError
from compress.darknet import safetensors_file, weights_file
from compress.darknet.layer_values import LayerValues, convolutions, parameters
from compress.darknet.network import DARKNET_BN_EPSILON, DarknetNetwork

log = logging.getLogger(__name__)
SAFETENSORS = ".safetensors"


def load_weights(network: DarknetNetwork, path: PathLike, partial: bool = False) -> None:
    """Fill the network from a weights file; on an error the network is as it was. The log says what was taken.

    A file that has seen images was trained by Darknet, whose batch normalisation adds 1e-6 to the variances where
    torch's adds 1e-5: unless the cfg says `bn_epsilon`, the network then gets Darknet's, in its cfg too.

    Args:
        network: built from the cfg that belongs to the file.
        path: the .weights or .safetensors file.
        partial: also take a file of another number of classes, whose head convolutions are then left as they are,
            or one that ends with a backbone.
    Raises:
        InputError: the file is truncated, over-long, of another cfg or damaged; with layer and sizes.
        OSError: it cannot be read.
    """
    file = safetensors_file if Path(path).suffix == SAFETENSORS else weights_file
    header, values = file.read(network, Path(path), partial)
    for index, arrays in values.items():
        _check(network, path, index, arrays)
    layers = dict(convolutions(network))
    with torch.no_grad():
        for index, arrays in values.items():
            for parameter, array in zip(parameters(layers[index]).values(), arrays):
                parameter.copy_(torch.from_numpy(array).view(parameter.shape))
    network.header = header
    if network.cfg.bn_epsilon is None and header.seen:
        network.set_bn_epsilon(DARKNET_BN_EPSILON)
    _tell(network, path, values)


def save_weights(network: DarknetNetwork, path: PathLike) -> None:
    """Write a weights file, in one step; what `load_weights` read is written back byte for byte.

    Raises:
        OSError: the disk is full or the folder cannot be written; what was there is as it was.
    """
    file = safetensors_file if Path(path).suffix == SAFETENSORS else weights_file
    file.write(network, Path(path))


def _check(network: DarknetNetwork, path: PathLike, index: int, arrays: LayerValues) -> None:
    found = None
    if not all(np.isfinite(array).all() for array in arrays):
        found = "infinity or NaN"
    elif network.convolution(index).bn is not None and (arrays[3] < 0).any():
        found = "variances below 0"
    if found:
        raise InputError(
            f"{path}: expected finite numbers and variances of at least 0, found {found} in layer {index} (line "
            f"{network.cfg.layers[index].line} of {network.cfg.name}). Name the cfg that belongs to these weights, "
            "or take an earlier checkpoint."
        )


def _tell(network: DarknetNetwork, path: PathLike, values: Dict[int, LayerValues]) -> None:
    everything = [index for index, _ in convolutions(network)]
    left = [index for index in everything if index not in values]
    if left:
        heads = {head.layer for head in network.heads}
        why = (
            "the heads, which the file has for other classes or not at all"
            if set(left) == heads
            else "which the file does not have"
        )
        log.info(
            "%s: took %d of %d convolutions (layers %d to %d), left layers %s as they were: %s",
            *(path, len(values), len(everything), min(values), max(values), ", ".join(map(str, left)), why),
        )
