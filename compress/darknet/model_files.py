"""A network on disk: a folder's model.cfg and model.weights, in Darknet's own formats."""

from __future__ import annotations

from pathlib import Path

from board_app.core.atomic_file import PathLike, replacing
from board_app.core.errors import InputError
from compress.darknet.cfg import cfg_text, read_cfg
from compress.darknet.network import DarknetNetwork
from compress.darknet.weights import load_weights, save_weights


def load_model(cfg_path: PathLike, weights_path: PathLike) -> DarknetNetwork:
    """The network of a cfg with its weights, in evaluation mode.

    Raises:
        InputError: a file is wrong, or the two do not belong together.
        OSError: a file cannot be read.
    """
    network = DarknetNetwork(read_cfg(cfg_path))
    load_weights(network, weights_path)
    return network.eval()


def load_folder(folder: PathLike, name: str = "model") -> DarknetNetwork:
    """The network that `save_model` wrote there, in evaluation mode."""
    return load_model(*model_paths(folder, name))


def save_model(network: DarknetNetwork, folder: PathLike, name: str = "model") -> tuple[Path, Path]:
    """Write NAME.cfg and NAME.weights; both are whole before either takes its place. Makes the folder.

    Returns:
        The two paths.
    Raises:
        OSError: the disk is full or the folder cannot be written; what was there is as it was.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    cfg_path, weights_path = Path(folder) / f"{name}.cfg", Path(folder) / f"{name}.weights"
    with replacing(cfg_path) as partial_cfg:
        partial_cfg.write_text(cfg_text(network.cfg), encoding="utf-8")
        save_weights(network, weights_path)
    return cfg_path, weights_path


def model_paths(folder: PathLike, name: str = "model") -> tuple[Path, Path]:
    """Where a folder's cfg and weights are.

    Raises:
        InputError: one of them is missing.
    """
    paths = Path(folder) / f"{name}.cfg", Path(folder) / f"{name}.weights"
    for path in paths:
        if not path.is_file():
            raise InputError(
                f"{folder}: expected a folder with {paths[0].name} and {paths[1].name}, found no {path.name}. "
                "Name a stage folder of a run, or a cfg and its weights."
            )
    return paths
