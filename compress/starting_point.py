"""What a run starts from, checked before its first stage."""

from __future__ import annotations

from board_app.core.errors import UsageError
from compress.config import CompressConfig
from compress.darknet.cfg import read_cfg
from compress.darknet.topologies import yolov3_cfg, yolov3_tiny_cfg
from compress.pruning.blocks import removable_blocks

TOPOLOGIES = {"yolov3": yolov3_cfg, "yolov3-tiny": yolov3_tiny_cfg}


def check_starting_point(config: CompressConfig) -> None:
    """Refuse what could not end well, although every key has a good value.

    Raises:
        UsageError: the cfg or the weights are not there, or more blocks are to be cut than the network has.
    """
    network = config.network
    for key, path in (("cfg", network.cfg), ("weights", network.weights)):
        if path is not None and not path.is_file():
            found = "a folder" if path.is_dir() else "none"
            raise UsageError(f"'{key}' in [network]: expected a file at {path}, found {found}. Correct the path")
    cfg = read_cfg(network.cfg) if network.cfg else TOPOLOGIES[network.topology](1, network.input_hw, network.width)
    blocks = len(removable_blocks(cfg))
    if config.prune.blocks > blocks:
        raise UsageError(
            f"'blocks' in [prune]: expected at most {blocks}, as many as {network.cfg or network.topology} has, "
            f"found {config.prune.blocks}. Lower it: at most `blocks: {blocks}`"
        )
