"""Darknet .weights files: read and write.

A header (three int32 version numbers, then the images seen, uint64 since version 0.2 and int32 before), then
float32 numbers per convolution in cfg order: beta, gamma, mean, variance (or the bias alone where there is no batch
normalisation), then the weights OIHW. All little-endian.
Source of the format: Redmon, Darknet, pjreddie.com/darknet (src/parser.c), public domain.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from board_app.core.atomic_file import PathLike, replacing
from board_app.core.errors import InputError
from compress.darknet.network import DARKNET_BN_EPSILON, ConvolutionLayer, DarknetNetwork, WeightsHeader

log = logging.getLogger(__name__)
_VERSION_BYTES = 12


def load_weights(network: DarknetNetwork, path: PathLike, partial: bool = False) -> None:
    """Fill the network from a Darknet weights file; on an error the network is as it was.

    A file that has seen images was trained by Darknet, whose batch normalisation adds 1e-6 to the variances where
    torch's adds 1e-5: unless the cfg says `bn_epsilon`, the network then gets Darknet's, in its cfg too.

    Args:
        network: built from the cfg that belongs to the file.
        path: the .weights file.
        partial: also take a file of another number of classes, whose head convolutions are then left as they are,
            or one that ends with a backbone; what was left is logged.
    Raises:
        InputError: the file is truncated, over-long, of another cfg or damaged; with layer and sizes.
        OSError: it cannot be read.
    """
    header, numbers = _read(Path(path))
    layers = list(_convolutions(network))
    total = sum(_size(layer) for _, layer in layers)
    if numbers.size == total:
        values = _split(numbers, [_size(layer) for _, layer in layers])
    elif partial:
        values = _partial_values(network, path, numbers)
    else:
        raise _wrong_size(network, path, numbers.size)
    taken = [(index, layer, part) for (index, layer), part in zip(layers, values) if part is not None]
    for index, layer, part in taken:
        _check(network, path, index, layer, part)
    with torch.no_grad():
        for _, layer, part in taken:
            for parameter, piece in zip(_parameters(layer), _split_parameters(layer, part)):
                parameter.copy_(torch.from_numpy(piece).view(parameter.shape))
    network.header = header
    if network.cfg.bn_epsilon is None and header.seen:
        network.set_bn_epsilon(DARKNET_BN_EPSILON)
    left = [str(index) for (index, _), part in zip(layers, values) if part is None]
    if left:
        log.info("%s: took %d convolutions, left layers %s as they were", path, len(taken), ", ".join(left))


def save_weights(network: DarknetNetwork, path: PathLike) -> None:
    """Write a Darknet weights file, in one step; what `load_weights` read is written back byte for byte."""
    header = network.header
    with replacing(path) as partial_path, open(partial_path, "wb") as stream:
        # not ndarray.tofile, which does not say that the disk is full
        stream.write(np.array([header.major, header.minor, header.revision], "<i4").tobytes())
        stream.write(np.array([header.seen], _seen_type(header)).tobytes())
        for _, layer in _convolutions(network):
            for parameter in _parameters(layer):
                stream.write(parameter.detach().cpu().contiguous().numpy().astype("<f4", copy=False).tobytes())


def _convolutions(network: DarknetNetwork) -> Iterator[tuple[int, ConvolutionLayer]]:
    for index, layer in enumerate(network.layers):
        if isinstance(layer, ConvolutionLayer):
            yield index, layer


def _parameters(layer: ConvolutionLayer) -> list[Tensor]:
    """The layer's tensors in file order."""
    if layer.bn is None:
        assert layer.conv.bias is not None
        return [layer.conv.bias, layer.conv.weight]
    assert layer.bn.running_mean is not None and layer.bn.running_var is not None
    return [layer.bn.bias, layer.bn.weight, layer.bn.running_mean, layer.bn.running_var, layer.conv.weight]


def _size(layer: ConvolutionLayer) -> int:
    return sum(parameter.numel() for parameter in _parameters(layer))


def _split(numbers: np.ndarray, sizes: list[int]) -> list[np.ndarray | None]:
    ends = np.cumsum(sizes)
    return [numbers[end - size : end] for size, end in zip(sizes, ends)]


def _split_parameters(layer: ConvolutionLayer, values: np.ndarray) -> list[np.ndarray]:
    return np.split(values, np.cumsum([parameter.numel() for parameter in _parameters(layer)])[:-1])


def _seen_type(header: WeightsHeader) -> str:
    wide = header.major * 10 + header.minor >= 2 and header.major < 1000 and header.minor < 1000
    return "<u8" if wide else "<i4"


def _read(path: Path) -> tuple[WeightsHeader, np.ndarray]:
    content = np.fromfile(path, np.uint8)
    version = content[:_VERSION_BYTES].view("<i4") if len(content) >= _VERSION_BYTES else np.zeros(0)
    if version.size == 3:
        header = WeightsHeader(*version.tolist())
        seen_type = np.dtype(_seen_type(header))
        start = _VERSION_BYTES + seen_type.itemsize
        if len(content) >= start and (len(content) - start) % 4 == 0:
            header.seen = int(content[_VERSION_BYTES:start].view(seen_type)[0])
            return header, content[start:].view("<f4")
    raise InputError(
        f"{path}: expected Darknet weights (a header of 16 or 20 bytes, then float32 numbers), found {len(content)} "
        "bytes, which is no whole number of them. The file is truncated or no weights file: fetch it again."
    )


def _partial_values(network: DarknetNetwork, path: PathLike, numbers: np.ndarray) -> list[np.ndarray | None]:
    """Per convolution its numbers, None for those that the file has not or has for other classes."""
    layers = list(_convolutions(network))
    sizes = [_size(layer) for _, layer in layers]
    classes = _classes_of_file(network, numbers.size)
    if classes is not None:
        heads = {head.layer: head for head in network.heads}
        for position, (index, layer) in enumerate(layers):
            if index in heads:
                anchors = len(heads[index].anchors)
                sizes[position] = sizes[position] // layer.conv.out_channels * anchors * (5 + classes)
        values = _split(numbers, sizes)
        return [None if index in heads else part for (index, _), part in zip(layers, values)]
    for position, end in enumerate(np.cumsum(sizes), start=1):
        if end == numbers.size:
            return [*_split(numbers, sizes[:position]), *[None] * (len(sizes) - position)]
    raise _wrong_size(network, path, numbers.size)


def _classes_of_file(network: DarknetNetwork, count: int) -> int | None:
    """The number of classes with which the cfg would have `count` numbers, None where there is none."""
    layers = dict(_convolutions(network))
    rest = sum(map(_size, layers.values()))
    per_output = 0  # numbers that one more class brings
    for head in network.heads:
        layer = layers[head.layer]
        rest -= _size(layer)
        per_output += _size(layer) // layer.conv.out_channels * len(head.anchors)
    outputs, remainder = divmod(count - rest, per_output)
    return outputs - 5 if not remainder and outputs > 5 else None


def _wrong_size(network: DarknetNetwork, path: PathLike, found: int) -> InputError:
    layers = list(_convolutions(network))
    ends = np.cumsum([_size(layer) for _, layer in layers])
    total = int(ends[-1])
    if found > total:
        where = f"{found - total:,} too many after the last one, layer {layers[-1][0]}"
    else:
        index = layers[int(np.searchsorted(ends, found, side="right"))][0]
        where = f"they end in layer {index} (line {network.cfg.layers[index].line} of the cfg)"
    remedy = "Name the cfg that belongs to these weights, or fetch them again"
    classes = _classes_of_file(network, found)
    if classes is not None:
        remedy = f"They fit this cfg with classes={classes}: name that one"
    return InputError(f"{path}: expected {total:,} numbers for {network.cfg.name}, found {found:,}: {where}. {remedy}.")


def _check(
    network: DarknetNetwork, path: PathLike, index: int, layer: ConvolutionLayer, values: np.ndarray | None
) -> None:
    assert values is not None
    found = None
    if not np.isfinite(values).all():
        found = "infinity or NaN"
    elif layer.bn is not None and (_split_parameters(layer, values)[3] < 0).any():
        found = "variances below 0"
    if found:
        raise InputError(
            f"{path}: expected finite numbers and variances of at least 0, found {found} in layer {index} (line "
            f"{network.cfg.layers[index].line} of {network.cfg.name}). Name the cfg that belongs to these weights, "
            "or take an earlier checkpoint."
        )
