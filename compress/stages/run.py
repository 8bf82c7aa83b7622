"""What every stage of a run works with: its configuration, its data and its predecessors' networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from board_app.core.atomic_file import sha256_of
from board_app.core.errors import InputError
from compress.config import CompressConfig
from compress.darknet.model_files import load_model
from compress.darknet.network import DarknetNetwork
from compress.data.dataset import Dataset, open_dataset
from compress.stages.folder import StageFolder
from compress.starting_point import check_starting_point
from compress.training.loader import TrainingImages


@dataclass(frozen=True)
class Run:
    """One run of a configuration; raises UsageError where what it starts from is not there or too small."""

    config: CompressConfig

    def __post_init__(self) -> None:
        check_starting_point(self.config)

    def folder(self, stage: str) -> StageFolder:
        """The folder of one stage."""
        return StageFolder(self.config.folder, stage)

    @cached_property
    def training_data(self) -> Dataset:
        """The training split."""
        return open_dataset(self.config.data, "train", ignore=self.config.ignore_classes)

    @cached_property
    def validation_data(self) -> Dataset:
        """The split that the stages' own mAP figures come from."""
        return open_dataset(self.config.data, "val", ignore=self.config.ignore_classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the network's scores."""
        return tuple(self.training_data.classes)

    @cached_property
    def data_hashes(self) -> dict[str, Any]:
        """What identifies both splits."""
        return {"train": self.training_data.fingerprint(), "val": self.validation_data.fingerprint()}

    def images(self, augmented: bool) -> TrainingImages:
        """The training split at network size, varied or as it is."""
        augment = self.config.augment if augmented else None
        return TrainingImages(self.training_data.samples, self.config.network.input_hw, augment, self.config.seed)

    def held_out(self) -> TrainingImages:
        """The validation split at network size."""
        return TrainingImages(self.validation_data.samples, self.config.network.input_hw, None, self.config.seed)

    def load_network(self, stage: str) -> DarknetNetwork:
        """A finished stage's network, in eval mode.

        Raises:
            InputError: the stage has not run, or it ran for another input size or other classes.
        """
        folder = self.folder(stage)
        folder.results()  # says which stage to run first
        network = load_model(folder.path / "model.cfg", folder.path / "model.weights")
        wanted = self.config.network.input_hw, len(self.class_names)
        found = network.cfg.input_hw, network.cfg.classes
        if found != wanted:
            expected, made = (f"{hw[0]}x{hw[1]} pixels and {classes} classes" for hw, classes in (wanted, found))
            raise InputError(
                f"{folder.path}: expected a network for {expected}, as config and data say, found one for {made}. "
                "Run the stages before this one again: `roadslim compress CONFIG`"
            )
        return network

    def network_hashes(self, stage: str) -> dict[str, Any]:
        """What identifies a finished stage's network."""
        folder = self.folder(stage)
        folder.results()
        return {name: sha256_of(folder.path / name) for name in ("model.cfg", "model.weights")}


def hash_of(path: Path | None) -> str | None:
    """A named input file's hash, or None where none is named."""
    return None if path is None else sha256_of(path)
