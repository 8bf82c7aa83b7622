"""The pruned network with the weights that its run started from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from board_app.core.errors import InputError
from compress.config import CompressConfig, PruneConfig, load_config
from compress.darknet.model_files import load_folder, save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.topologies import with_width
from compress.darknet.weights import save_weights
from compress.estimate import estimate_run
from compress.pruning import select
from compress.pruning.recalibration import recalibrate, training_batches
from compress.pruning.selection import selected_cfg
from compress.stages import rewinding, run_stages
from compress.stages.cut import prune_options
from compress.stages.preflight import check_before
from compress.stages.rewinding import rewound
from compress.stages.run import Run
from compress.stages.training import distill_key, initialise
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
    started.header.seen = 1  # as Darknet's own, whose batch normalisation has another epsilon
    save_weights(started, tmp_path / "start.weights")
    document = yaml.safe_load(finished_copy.read_text())
    document["network"]["weights"] = str(tmp_path / "start.weights")
    document["distill"] |= {"rewind": True, "learning_rate": 1e-12, "weight_decay": 0}
    finished_copy.write_text(yaml.safe_dump(document))
    return load_config(finished_copy)


@pytest.fixture
def as_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stays does not make up for what goes."""
    monkeypatch.setattr(rewinding, "reconstructed", lambda network, selection, batches: network)


def test_what_stays_has_the_starting_weights_and_the_heads_their_own(
    config: CompressConfig, started: DarknetNetwork, as_cut: None
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
    first, second = (torch.from_numpy(selection.kept[layer]) for layer in (0, 1))
    assert torch.equal(network.convolution(0).conv.weight, started.convolution(0).conv.weight[first])
    assert torch.equal(network.convolution(1).conv.weight, started.convolution(1).conv.weight[second][:, first])
    for head in network.heads:
        mine, theirs = network.convolution(head.layer).conv, sparse.convolution(old_layers[head.layer]).conv
        assert mine.bias is not None and theirs.bias is not None and torch.equal(mine.bias, theirs.bias)
        assert set(mine.weight.flatten().tolist()) <= set(theirs.weight.flatten().tolist())


def test_what_stays_makes_up_for_what_goes(
    config: CompressConfig, started: DarknetNetwork, request: pytest.FixtureRequest
) -> None:
    """On training pictures the cut network's maps before its heads are nearer to the starting network's."""
    run = Run(config)
    images = torch.cat(list(training_batches(run.images(augmented=False), 16)))
    recalibrate(started, [images])
    sparse = run.load_network("sparsify")
    selection = select(sparse, prune_options(config.prune))
    old_layers = selected_cfg(sparse.cfg, selection)[1]
    networks = [rewound(run)]
    request.getfixturevalue("as_cut")
    networks.append(rewound(run))
    errors = []
    for network in networks:
        recalibrate(network, [images])
        with torch.no_grad():
            mine, theirs = network.forward_layers(images), started.forward_layers(images)
        layer = network.heads[0].layer - 1
        kept = torch.from_numpy(selection.kept[old_layers[layer]])
        errors.append(float((mine[layer] - theirs[old_layers[layer]][:, kept]).square().mean()))
    assert errors[0] < 0.9 * errors[1]


def test_the_fine_tuning_begins_there(config: CompressConfig) -> None:
    """With a rate that moves nothing it ends there too, far from what was pruned."""
    run_stages(config, until="distill")
    tuned, start = load_folder(config.folder / "distill"), rewound(Run(config))
    assert torch.allclose(tuned.convolution(0).conv.weight, start.convolution(0).conv.weight, atol=1e-6)
    pruned = load_folder(config.folder / "prune")
    assert not torch.allclose(tuned.convolution(0).conv.weight, pruned.convolution(0).conv.weight, atol=1e-3)


@pytest.mark.parametrize("changed", ["settings", "network"])
def test_a_cut_of_other_settings_or_another_network_is_refused(changed: str, config: CompressConfig) -> None:
    """Its channels would be others than those that the weights are cut to."""
    if changed == "settings":
        prune = config.prune.model_copy(update={"min_channels": 5})
        config = config.model_copy(update={"prune": prune})
    else:
        save_model(load_folder(config.folder / "train"), config.folder / "sparsify")
    with pytest.raises(InputError, match="expected the cut that .* found one of another network or other settings"):
        rewound(Run(config))


def test_other_starting_weights_are_another_fine_tuning(config: CompressConfig, started: DarknetNetwork) -> None:
    """Also where the trained networks are given, and only then are the weights read before the fine-tuning's turn."""
    given = config.given.model_copy(update={stage: (config.folder / stage,) for stage in ("train", "sparsify")})
    run = Run(config.model_copy(update={"given": given}))
    before = distill_key(run)
    check_before(run, ["prune", "distill"])
    assert config.network.weights is not None
    save_weights(DarknetNetwork(with_width(started.cfg, 2.0)), config.network.weights)
    assert distill_key(run) != before
    with pytest.raises(InputError, match="start.weights: expected"):
        check_before(run, ["prune", "distill"])


def test_channels_that_followed_from_pictures_stay(
    config: CompressConfig, as_cut: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cut tells which they are; other pictures than its own choose no others."""
    prune = PruneConfig(importance="reconstruction", target_params=9000, width_multiple=1)
    run = Run(config.model_copy(update={"prune": prune}))
    run_stages(run.config, until="prune")
    noise = torch.rand(8, 3, *config.network.input_hw, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(rewinding, "training_batches", lambda images, count: [noise])
    trained = run.load_network("train")
    other = select(trained, prune_options(prune), lambda: [noise])
    network = rewound(run)
    assert network.cfg.layers == load_folder(run.config.folder / "prune").cfg.layers
    assert network.cfg.layers != selected_cfg(trained.cfg, other)[0].layers


def test_an_estimate_needs_no_weights(config: CompressConfig) -> None:
    """Nor does it refuse to go back to those that are named and not there yet."""
    network = config.network.model_copy(update={"weights": Path("nowhere.weights")})
    estimate = estimate_run(config.model_copy(update={"network": network}), until="distill")
    assert [stage.stage for stage in estimate.stages][-1] == "distill"
