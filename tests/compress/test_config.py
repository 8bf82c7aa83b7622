"""The settings of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from board_app.core.errors import UsageError
from compress.config import CompressConfig, TrainingConfig, checked, load_config


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_hold_where_nothing_is_said(tmp_path: Path) -> None:
    """A name and a dataset are enough."""
    config = load_config(write(tmp_path, "name: a\ndata: d\n"))
    assert config == CompressConfig(name="a", data=Path("d"))


def test_shares_may_be_written_as_percent(tmp_path: Path) -> None:
    """85% and 0.85 are the same."""
    config = load_config(write(tmp_path, "name: a\ndata: d\nprune: {channels: 85%, min_share: 0.02}\n"))
    assert config.prune.channels == pytest.approx(0.85) and config.prune.min_share == 0.02


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\ndata: d\nprune: {chanels: 85%}\n", ["unknown key 'chanels' in [prune]", "Did you mean 'channels'?"]),
        ("name: a\ndata: d\nnetwrk: {}\n", ["unknown key 'netwrk'", "Did you mean 'network'?"]),
        ("name: a\ndata: d\nseed: -1\n", ["'seed'", "greater than or equal to 0", "-1"]),
        ("name: a\ndata: d\nprune: {channels: 100%}\n", ["'channels' in [prune]", "less than 1"]),
        ("data: d\n", ["'name'", "required"]),
        ("name: ../a\ndata: d\n", ["'name'", "'../a'"]),
        ("- a\n", ["expected `key: value` lines, found a list. See"]),
        ("# name: a\n", ["expected `key: value` lines, found an empty file. See"]),
        ("just words\n", ["expected `key: value` lines, found 'just words'. See"]),
        ("name: ../A\ndata: d\n", ["found '../A'. Write letters", "[A-Za-z0-9]"]),
        ("name: [\n", ["run.yaml: expected YAML, found in line 2: while parsing"]),
        ("name: a\ndata: d\nnetwork: {input_hw: [100, 64]}\n", ["multiples of 32, found [100, 64]. Write two"]),
        ("name: a\ndata: d\nnetwork: {input_hw: [64]}\n", ["'input_hw' in [network]", "Write two multiples"]),
        ("name: a\ndata: d\nnetwork: {input_hw: 64}\n", ["expected a list, found 64. Write two multiples"]),
        (
            "name: a\ndata: d\nprune: {blocks: x}\n",
            ["expected a whole number from 0, or auto, found 'x'. Write how many"],
        ),
        ("name: a\ndata: d\nprune: {board: x}\n", ["'board' in [prune]: expected one of zcu104"]),
        ("name: a\ndata: d\nprune: {method: slimming, target_ms: 3}\n", ["no target and no width_multiple"]),
        (
            "name: a\ndata: d\nprune: {importance: reconstruction, method: slimming}\n",
            ["expected method cost and some recalibration_images", "found method slimming and 256"],
        ),
        (
            "name: a\ndata: d\nprune: {importance: reconstruction, target_ms: 3, recalibration_images: 0}\n",
            ["found method cost and 0"],
        ),
        (
            "name: a\ndata: d\ntrain: {micro_batch: 8, statistics_batch: 3}\n",
            ["'statistics_batch' in [train]: expected a divisor of micro_batch 8, found 3"],
        ),
        (
            "name: a\ndata: d\ntrain: {multi_scale: [512, 256]}\n",
            ["multiples of 32, the smaller first, found [512, 256]. Write the smallest and largest"],
        ),
        ("name: a\ndata: d\nsparsify: {patience: 2}\n", ["expected null", "are all the zeros there, found 2"]),
        ("name: a\ndata: d\nquantize: {fine_tune: {precision: bf16}}\n", ["expected precision float32"]),
        ("name: a\ndata: d\nprune: {channels: x%}\n", ["expected a share, found 'x%'. Write 50% or 0.5"]),
        ("name: a\ndata: d\nprune: {channels: 85}\n", ["less than 1, found 85. Write 50% or 0.5"]),
        ("name: a\ndata: d\ntrain: {epochs: x}\n", ["expected a valid integer, found 'x'. Write a whole number"]),
        ("name: a\ndata: d\nquantize: 3\n", ["'quantize': expected a section of keys, found 3. Write its keys"]),
        ("data: d\n", ["run.yaml: expected the required key 'name', found none. Add a line `name: VALUE`"]),
    ],
)
def test_a_wrong_file_is_named_with_key_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    """What was found and what to write instead stand in the message."""
    with pytest.raises(UsageError) as error:
        load_config(write(tmp_path, text))
    for word in words:
        assert word in str(error.value)


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: str


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")
    items: list[_Item] = []
    last: _Item | None = None


@pytest.mark.parametrize(
    "document", [{"items": [{"path": "a"}, {"pathh": "b", "path": "b"}]}, {"last": {"pathh": "a", "path": "a"}}]
)
def test_a_misspelt_key_inside_a_list_or_an_optional_section_is_known_too(document: dict) -> None:
    """The nearest known key of that very section."""
    with pytest.raises(UsageError, match="unknown key 'pathh'.*Did you mean 'path'"):
        checked(_Document, document, "plan")


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    """Nobody has to run five times to find five mistakes."""
    with pytest.raises(UsageError) as error:
        load_config(write(tmp_path, "name: a\ndata: d\nsed: 1\ntrain: {epocs: 1}\nquantize: {images: 0}\n"))
    assert len(str(error.value).splitlines()) == 3


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """The path and where examples are."""
    with pytest.raises(UsageError, match="found none. The examples are in configs/"):
        load_config(tmp_path / "none.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """It is told as a wrong use, like a missing file."""
    with pytest.raises(UsageError, match=r"found a folder. Name a \.yaml file"):
        load_config(tmp_path)


def test_a_training_does_not_start_afresh_for_what_changes_no_result() -> None:
    """How a batch is cut counts only where batch statistics follow from it; how often it is saved never does."""
    whole = TrainingConfig(statistics_batch=4).result_settings()
    assert TrainingConfig(statistics_batch=4, micro_batch=8, checkpoint_minutes=5).result_settings() == whole
    assert TrainingConfig(statistics_batch=2).result_settings() != whole
    assert TrainingConfig(micro_batch=8).result_settings() != TrainingConfig().result_settings()
