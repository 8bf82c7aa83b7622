"""Darknet's .weights files.

A header (three int32 version numbers, then the images seen, uint64 since version 0.2 and int32 before), then
float32 numbers per convolution in cfg order: beta, gamma, mean, variance (or the bias alone where there is no batch
normalisation), then the weights OIHW. All little-endian.
Source of the format: Redmon, Darknet, pjreddie.com/darknet (src/parser.c), public domain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np

from board_app.core.atomic_file import replacing
from board_app.core.errors import InputError
from compress.darknet.layer_values import LayerValues, as_float32, convolutions, parameters
from compress.darknet.network import ConvolutionLayer, DarknetNetwork, WeightsHeader

_VERSION_BYTES = 12


def read(network: DarknetNetwork, path: Path, partial: bool) -> Tuple[WeightsHeader, Dict[int, LayerValues]]:
    """The header, and by layer the numbers that the network has a place for; see `load_weights`."""
    header, numbers = _content(path)
    layers = list(convolutions(network))
    total = sum(_size(layer) for _, layer in layers)
    if numbers.size == total:
        return header, _split(numbers, layers, [_size(layer) for _, layer in layers])
    if partial:
        return header, _part(network, path, numbers)
    raise _wrong_size(network, path, numbers.size)


def write(network: DarknetNetwork, path: Path) -> None:
    """Write the file, in one step."""
    header = network.header
    with replacing(path) as partial_path, open(partial_path, "wb") as stream:
        # not ndarray.tofile, which does not say that the disk is full
        stream.write(np.array([header.major, header.minor, header.revision], "<i4").tobytes())
        stream.write(np.array([header.seen], _seen_type(header)).tobytes())
        for _, layer in convolutions(network):
            for parameter in parameters(layer).values():
                stream.write(as_float32(parameter).tobytes())


def _size(layer: ConvolutionLayer) -> int:
    return sum(parameter.numel() for parameter in parameters(layer).values())


def _split(numbers: np.ndarray, layers: List[Tuple[int, ConvolutionLayer]], sizes: List[int]) -> Dict[int, LayerValues]:
    """By layer its parameters, for as many layers as there are numbers; `sizes` are those of the file."""
    values, end = {}, 0
    for (index, layer), size in zip(layers, sizes):
        start, end = end, end + size
        if end > numbers.size:
            break
        counts = [parameter.numel() for parameter in parameters(layer).values()]
        if sum(counts) == size:
            values[index] = np.split(numbers[start:end], np.cumsum(counts)[:-1])
    return values


def _seen_type(header: WeightsHeader) -> str:
    wide = header.major * 10 + header.minor >= 2 and header.major < 1000 and header.minor < 1000
    return "<u8" if wide else "<i4"


def _content(path: Path) -> Tuple[WeightsHeader, np.ndarray]:
    empty = not path.stat().st_size
    # mapped: a copy of 250 MB takes longer than all the rest; writable in memory alone, as torch wants it
    content = np.zeros(0, np.uint8) if empty else np.asarray(np.memmap(path, np.uint8, "c"))
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


def _part(network: DarknetNetwork, path: Path, numbers: np.ndarray) -> Dict[int, LayerValues]:
    """What a file of other classes, or one that ends early, has for the network."""
    layers = list(convolutions(network))
    sizes = [_size(layer) for _, layer in layers]
    classes = _classes_of_file(network, numbers.size)
    if classes is not None:
        heads = {head.layer: head for head in network.heads}
        for position, (index, layer) in enumerate(layers):
            if index in heads:
                filters = len(heads[index].anchors) * (5 + classes)
                sizes[position] = sizes[position] // layer.conv.out_channels * filters
        return {index: part for index, part in _split(numbers, layers, sizes).items() if index not in heads}
    if numbers.size in np.cumsum(sizes):
        return _split(numbers, layers, sizes)
    raise _wrong_size(network, path, numbers.size)


def _classes_of_file(network: DarknetNetwork, count: int) -> Optional[int]:
    """The number of classes with which the cfg would have `count` numbers, None where there is none."""
    layers = dict(convolutions(network))
    rest = sum(map(_size, layers.values()))
    per_output = 0  # numbers that one more class brings
    for head in network.heads:
        layer = layers[head.layer]
        rest -= _size(layer)
        per_output += _size(layer) // layer.conv.out_channels * len(head.anchors)
    outputs, remainder = divmod(count - rest, per_output)
    return outputs - 5 if not remainder and outputs > 5 else None


def _wrong_size(network: DarknetNetwork, path: Path, found: int) -> InputError:
    layers = list(convolutions(network))
    ends = np.cumsum([_size(layer) for _, layer in layers])
    total = int(ends[-1])
    if found > total:
        where = f"{found - total:,} too many after the last one, layer {layers[-1][0]}"
    else:
        position = int(np.searchsorted(ends, found, side="right"))
        index, layer = layers[position]
        shape, size = "x".join(map(str, layer.conv.weight.shape)), _size(layer)
        where = (
            f"they end in layer {index} (line {network.cfg.layers[index].line} of the cfg, weights {shape}), which "
            f"has {found - int(ends[position]) + size:,} of its {size:,}"
        )
    remedy = "Name the cfg, of the same width, that belongs to these weights, or fetch them again"
    classes = _classes_of_file(network, found)
    if classes is not None:
        remedy = f"They fit this cfg with classes={classes}: name that one"
    return InputError(f"{path}: expected {total:,} numbers for {network.cfg.name}, found {found:,}: {where}. {remedy}.")
