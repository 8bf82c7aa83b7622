"""Weights as .safetensors: the torch names of DarknetNetwork, and Darknet's header in the metadata.

Source of the format: huggingface.co/docs/safetensors. Nothing in such a file is run when it is read.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Dict, Tuple

import numpy as np

from board_app.core.atomic_file import replacing
from board_app.core.errors import InputError
from compress.darknet.layer_values import LayerValues, as_float32, convolutions, parameters
from compress.darknet.network import DarknetNetwork, WeightsHeader

_HEADER_KEY = "darknet_header"  # one key, since several come in any order and the bytes would change


def read(network: DarknetNetwork, path: Path, partial: bool) -> Tuple[WeightsHeader, Dict[int, LayerValues]]:
    """The header, and by layer the numbers that the network has a place for; see `load_weights`."""
    from safetensors import SafetensorError, safe_open

    path.stat()  # a missing file is an OSError, as for other formats
    heads = {head.layer for head in network.heads}
    values: Dict[int, LayerValues] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            header = _header(path, file.metadata() or {})
            unknown = set(file.keys())
            for index, layer in convolutions(network):
                expected = {_name(index, name): tuple(tensor.shape) for name, tensor in parameters(layer).items()}
                found = {name: tuple(file.get_slice(name).get_shape()) for name in expected if name in unknown}
                unknown -= set(expected)
                if found == expected:
                    values[index] = [file.get_tensor(name) for name in expected]
                elif not partial or (found and index not in heads):
                    raise _wrong_layer(network, path, index, expected, found)
    except SafetensorError as error:
        raise InputError(
            f"{path}: expected a whole .safetensors file, found {error}. The file is truncated or no such file: "
            "fetch it again."
        ) from None
    wrong = {str(array.dtype) for arrays in values.values() for array in arrays} - {"float32"}
    if wrong:
        raise InputError(f"{path}: expected float32 numbers, found {', '.join(sorted(wrong))}. Convert them first.")
    if not values or (unknown and not partial):
        found_names = f"{min(unknown)} too" if values else f"none of them, but {', '.join(sorted(unknown)[:3])}"
        raise InputError(
            f"{path}: expected the tensors of {network.cfg.name}, found {found_names}. Name the cfg that belongs to "
            "these weights."
        )
    return header, values


def write(network: DarknetNetwork, path: Path) -> None:
    """Write the file, in one step; the same numbers give the same bytes."""
    from safetensors.numpy import save

    tensors = {
        _name(index, name): as_float32(tensor)
        for index, layer in convolutions(network)
        for name, tensor in parameters(layer).items()
    }
    content = save(tensors, {_HEADER_KEY: json.dumps(asdict(network.header))})
    with replacing(path) as partial_path, open(partial_path, "wb") as stream:
        stream.write(content)


def _name(index: int, name: str) -> str:
    return f"layers.{index}.{name}"


def _header(path: Path, metadata: Dict[str, str]) -> WeightsHeader:
    """Darknet's header; of a file that another program wrote, that of a network nobody trained."""
    try:
        header = WeightsHeader(**json.loads(metadata.get(_HEADER_KEY, "{}")))
        np.array([header.major, header.minor, header.revision], "<i4")
        np.array([header.seen], "<u8")
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"{path}: expected four whole numbers as {_HEADER_KEY} in the metadata, found {metadata[_HEADER_KEY]} "
            f"({error}). Write the file again: roadslim export"
        ) from None
    return header


def _wrong_layer(
    network: DarknetNetwork,
    path: Path,
    index: int,
    expected: Dict[str, Tuple[int, ...]],
    found: Dict[str, Tuple[int, ...]],
) -> InputError:
    name = next(name for name in expected if found.get(name) != expected[name])
    shape = list(found[name]) if name in found else "none"
    return InputError(
        f"{path}: expected {name} of shape {list(expected[name])} (layer {index}, line "
        f"{network.cfg.layers[index].line} of {network.cfg.name}), found {shape}. Name the cfg that belongs to these "
        "weights."
    )
