"""What a search varies, and the configs that come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from board_app.core.errors import UsageError
from compress.config import CompressConfig, checked
from compress.search.space import check_space, described, sample, with_settings

SEARCH: dict[str, Any] = {
    "input_hw": [[64, 96], [96, 96]],
    "width": [0.125, 0.25],
    "blocks": [0, 4],
    "sparsify_epochs": [4, 8],
    "strength": [0.1, 0.4],
    "channels": ["20%", "80%"],
}


def config_with(search: dict[str, Any], **more: Any) -> CompressConfig:
    return checked(CompressConfig, {"name": "road", "data": "roads", "search": search} | more, "road.yaml")


def test_settings_are_sampled_and_put_into_the_config() -> None:
    """Each where it belongs; everything else is as in the config, less the search."""
    config = config_with(SEARCH, seed=7, train={"learning_rate": 0.01}, quantize={"fine_tune": {"epochs": 3}})
    settings = sample(
        FixedTrial(
            {
                "input_hw": "(96, 96)",
                "width": "0.25",
                "blocks": "4",
                "sparsify_epochs": "8",
                "strength": 0.2,
                "channels": 0.5,
            }
        ),
        config.search,
    )
    assert described(settings) == "input_hw 96x96, width 0.25, blocks 4, sparsify_epochs 8, strength 0.2, channels 0.5"
    made = checked(CompressConfig, with_settings(config, settings, "one", Path("there"), epochs_share=0.25), "one")
    assert made.folder == Path("there/one") and made.seed == 7 and made.data == config.data
    assert (made.network.input_hw, made.network.width) == ((96, 96), 0.25)
    assert (made.prune.blocks, made.prune.channels, made.sparsify.strength) == (4, 0.5, 0.2)
    assert (made.train.epochs, made.train.learning_rate) == (25, 0.01)
    assert (made.sparsify.epochs, made.distill.epochs) == (2, 25)
    assert made.quantize.fine_tune and made.quantize.fine_tune.epochs == 1  # at least one
    assert made.search == CompressConfig(name="a", data=Path("b")).search


def test_a_target_takes_the_place_of_a_share() -> None:
    """A config says one of both."""
    config = config_with({"target_ms": [1, 2]}, prune={"channels": "85%", "blocks": 2})
    document = with_settings(config, {"target_ms": 1.5}, "one", Path("runs"))
    assert document["prune"] == {"blocks": 2, "target_ms": 1.5}
    with pytest.raises(UsageError, match="expected `channels` alone, or targets"):
        config_with({"target_params": [1000, 2000], "channels": ["50%", "90%"]})


def test_parameters_to_prune_down_to_are_whole_numbers() -> None:
    """Within their range, beside a time that is varied too; both targets then hold."""
    config = config_with({"target_params": [1000, 2000], "target_ms": [1, 2]}, prune={"channels": "85%"})
    study = optuna.create_study(directions=("maximize", "minimize"), sampler=optuna.samplers.RandomSampler(seed=1))
    for settings in (sample(study.ask(), config.search) for _ in range(20)):
        made = checked(CompressConfig, with_settings(config, settings, "one", Path("runs")), "one").prune
        assert made.target_params == settings["target_params"] and 1000 <= settings["target_params"] <= 2000
        assert made.target_ms == settings["target_ms"]
    check_space(config)


def test_all_epochs_by_default() -> None:
    """The chosen point is trained in full."""
    config = config_with({"width": [0.25]}, train={"epochs": 40})
    made = checked(CompressConfig, with_settings(config, {"width": 0.25}, "chosen", Path("runs")), "chosen")
    assert (
        made == config.model_copy(update={"name": "chosen", "network": made.network, "search": made.search})
        and made.train.epochs == 40
    )


def test_samples_lie_in_their_ranges() -> None:
    """And the choices are all met."""
    config = config_with(SEARCH)
    study = optuna.create_study(directions=("maximize", "minimize"), sampler=optuna.samplers.RandomSampler(seed=1))
    samples = [sample(study.ask(), config.search) for _ in range(40)]
    assert {settings["input_hw"] for settings in samples} == {(64, 96), (96, 96)}
    assert {settings["blocks"] for settings in samples} == {0, 4}
    assert all(0.2 <= settings["channels"] <= 0.8 and 0.1 <= settings["strength"] <= 0.4 for settings in samples)


@pytest.mark.parametrize(
    ("search", "more", "words"),
    [
        ({}, {}, "expected something to vary"),
        ({"input_hw": [[64, 100]]}, {}, r"its \(64, 100\): 'input_hw' in \[network\]: expected multiples of 32"),
        ({"width": [0.5, 1.5]}, {}, r"its 1.5: 'width' in \[network\]: expected less than or equal to 1"),
        ({"channels": [0.5, 1.0]}, {}, r"its 1.0: 'channels' in \[prune\]: expected less than 1"),
        ({"width": [0.5]}, {"network": {"cfg": "a.cfg"}}, "'cfg' in .network. names a network of its own widths"),
        ({"channels": [0.5, 0.8]}, {"prune": {"target_ms": 3}}, "a target in .prune. decides. Leave out one"),
        (
            {"sparsify_epochs": [1, 2]},
            {"prune": {"importance": "reconstruction", "target_ms": 3}},
            "nothing is trained sparse with 'importance: reconstruction' in .prune.",
        ),
        ({"strength": [0.1, 0.2]}, {"sparsify": {"method": "constant"}}, "'method' in .sparsify. has no strength"),
    ],
)
def test_what_no_trial_could_have_is_refused(search: dict[str, Any], more: dict[str, Any], words: str) -> None:
    """Before the first trial, whichever it would have met; and what would vary nothing."""
    with pytest.raises(UsageError, match=words):
        check_space(config_with(search, **more))
