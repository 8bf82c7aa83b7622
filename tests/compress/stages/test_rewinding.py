"""The pruned network with the weights that its run started from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from board_app.core.errors import InputError
from compress.config import CompressConfig, load_config
from compress.darknet.model_files import load_folder, save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.weights import save_weights
from compress.pruning import select
from compress.pruning.selection import selected_cfg
from compress.stages import run_stages
from compress.stages.cut import prune_options
from compress.stages.rewinding import rewound
from compress.stages.run import Run
from compress.stages.training import initialise
from compress.starting_point import starting_cfg


@pytest.fixture
def started(finished_copy: Path) -> DarknetNetwork:
    """What a run might have started from: pretrained for other classes."""
    torch.manual_seed(5)
    network = DarknetNetwork(starting_cfg(load_config(finished_copy).network, classes=2))
    initialise(network)
    for layer in network.layers:
        if getattr(layer, "bn", None) is not None:
            torch.nn.init.uniform_(layer.bn.weight)
    return network


@pytest.fixture
def config(finished_copy: Path, started: DarknetNetwork, tmp_path: Path) -> CompressConfig:
    """Of a finished run, which now goes back; its fine-tuning does not move the weights."""
    save_weights(started, tmp_path / "start.weights")
    document = yaml.safe_load(finished_copy.read_text())
    document["network"]["weights"] = str(tmp_path / "start.weights")
    document["distill"] |= {"rewind": True, "learning_rate": 1e-12, "weight_decay": 0}
    finished_copy.write_text(yaml.safe_dump(document))
    return load_config(finished_copy)


def test_what_stays_has_the_starting_weights_and_the_heads_their_own(
    config: CompressConfig, started: DarknetNetwork
) -> None:
    """Channels as the sparse training chose them; of its values only the heads: the file has those of other classes."""
    run = Run(config)
    network, sparse = rewound(run), run.load_network("sparsify")
    selection = select(sparse, prune_options(config.prune))
    cut, old_layers = selected_cfg(sparse.cfg, selection)
    assert cut.layers == network.cfg.layers and len(selection.removed_blocks) == 2
    normalised = [layer for layer, section in enumerate(cut.layers) if "batch_normalize" in section.options]
    for layer in normalised:
        kept = torch.from_numpy(selection.kept[old_layers[layer]])
        scales = started.batch_norm(old_layers[layer]).weight[kept]
        assert torch.equal(network.batch_norm(layer).weight, scales) and 0 < len(scales)
    assert any(not kept.all() for kept in selection.kept.values())
    first = torch.from_numpy(selection.kept[0])
    assert torch.equal(network.convolution(0).conv.weight, started.convolution(0).conv.weight[first])
    pruned = run.load_network("prune")
    for head in network.heads:
        assert torch.equal(network.convolution(head.layer).conv.weight, pruned.convolution(head.layer).conv.weight)


def test_the_fine_tuning_begins_there(config: CompressConfig) -> None:
    """With a rate that moves nothing it ends there too, far from what was pruned."""
    run_stages(config, until="distill")
    tuned, start = load_folder(config.folder / "distill"), rewound(Run(config))
    assert torch.allclose(tuned.convolution(0).conv.weight, start.convolution(0).conv.weight, atol=1e-6)
    pruned = load_folder(config.folder / "prune")
    assert not torch.allclose(tuned.convolution(0).conv.weight, pruned.convolution(0).conv.weight, atol=1e-3)


def test_a_pruned_network_of_other_settings_is_refused(config: CompressConfig) -> None:
    """It would get another network's weights."""
    save_model(load_folder(config.folder / "sparsify"), config.folder / "prune")
    with pytest.raises(InputError, match=r"to have the widths that \[prune\] asks for, found others"):
        rewound(Run(config))
