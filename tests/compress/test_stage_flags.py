"""The flags of a stage's own command."""

from __future__ import annotations

import argparse

import pytest

from board_app.core.errors import UsageError
from compress.stage_flags import add_stage_flags, config_flags, wants_config


def parsed(*arguments: str) -> argparse.Namespace:
    """The flags of a stage that also works without a CONFIG."""
    parser = argparse.ArgumentParser()
    add_stage_flags(parser, config_needed=False)
    parser.add_argument("--out")
    parser.add_argument("--blocks")
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "found no --cfg, --weights, --out. Add"),
        (["--cfg", "a", "--out", "b"], "found no --weights. Add"),
        (["--cfg", "a", "--weights", "b", "--model", "c", "--out", "d"], "found --cfg and --weights and --model. Give"),
        (["run.yaml", "--blocks", "2"], "found CONFIG and --blocks. Set it in the config"),
        (["--model", "a", "--out", "b", "--fresh"], "--fresh: expected a CONFIG"),
        (["--model", "a", "--out", "b", "--print-config"], "--print-config: expected a CONFIG"),
    ],
)
def test_flags_that_leave_it_open_are_told(arguments: list[str], words: str) -> None:
    """Neither way whole, or both mixed."""
    with pytest.raises(UsageError) as error:
        wants_config(parsed(*arguments), ("out",), ("blocks",))
    assert words in str(error.value)


def test_either_way_is_known() -> None:
    """With a CONFIG its stage; without, flags that say everything."""
    assert wants_config(parsed("run.yaml", "--model", "a"), ("out",), ("blocks",))
    assert not wants_config(parsed("--model", "a", "--out", "b", "--blocks", "2"), ("out",), ("blocks",))


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["--model", "a"], {"network.cfg": "a/model.cfg", "network.weights": "a/model.weights", "network.width": 1.0}),
        (["--cfg", "a"], {"network.cfg": "a", "network.width": 1.0}),
        (["--weights", "b"], {"network.weights": "b"}),
    ],
)
def test_a_network_that_flags_name_is_trained_as_it_is(arguments: list[str], settings: dict[str, object]) -> None:
    """The config's width would make a narrow network narrower; weights alone are for the config's network."""
    args = parsed("run.yaml", *arguments)
    args.out = None
    assert config_flags(args, "train") == settings


@pytest.mark.parametrize(
    ("stage", "arguments"),
    [
        ("sparsify", ["--cfg", "a"]),
        ("train", ["--model", "a", "--weights", "b"]),
    ],
)
def test_half_a_network_is_refused(stage: str, arguments: list[str]) -> None:
    """A stage needs a cfg and its weights; only a training may have one of them from the config."""
    with pytest.raises(UsageError, match="expected --cfg and --weights, or --model"):
        config_flags(parsed("run.yaml", *arguments), stage)
