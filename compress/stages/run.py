"""What every stage of a run works with: its configuration, its data and its predecessors' networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from board_app.core.atomic_file import sha256_of
from board_app.core.errors import InputError
from compress.config import AugmentConfig, CompressConfig
from compress.darknet.cfg import read_cfg
from compress.darknet.cost import gmacs, parameter_count
from compress.darknet.model_files import load_model, model_paths
from compress.darknet.network import DarknetNetwork
from compress.data.dataset import Dataset, open_dataset
from compress.stage_flags import STARTS_FROM
from compress.stages.folder import StageFolder
from compress.starting_point import check_starting_point
from compress.training.batch import Metrics
from compress.training.evaluation import evaluate
from compress.training.loader import TrainingImages

Network = str | tuple[Path, ...]  # a stage's name, or as in `given`: a stage folder, or a cfg and weights


@dataclass(frozen=True)
class Run:
    """One run of a configuration; raises UsageError where what it starts from is not there or too small.

    `on_epoch` is called after every epoch of every stage, with the stage's name and the epoch's metrics.
    """

    config: CompressConfig
    on_epoch: Callable[[str, Metrics], None] | None = None

    def __post_init__(self) -> None:
        check_starting_point(self.config)

    def folder(self, stage: str) -> StageFolder:
        """The folder of one stage."""
        return StageFolder(self.config.folder, stage)

    @cached_property
    def training_data(self) -> Dataset:
        """The training split."""
        return self._split("train")

    @cached_property
    def validation_data(self) -> Dataset:
        """The split that the stages' own mAP figures come from."""
        return self._split("val")

    def _split(self, split: str) -> Dataset:
        config = self.config
        return open_dataset(config.data, split, config.ignore_classes, config.map_classes, config.countries)

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
        return self._images(self.training_data, self.config.augment if augmented else None)

    def held_out(self) -> TrainingImages:
        """The validation split at network size."""
        return self._images(self.validation_data, None)

    def _images(self, data: Dataset, augment: AugmentConfig | None) -> TrainingImages:
        config = self.config
        return TrainingImages(
            data.samples, config.network.input_hw, augment, config.seed, self.class_names, config.cache_mb
        )

    @property
    def uncut(self) -> str:
        """The stage whose network is pruned: the trained one where channels are chosen by no scales."""
        if self.config.prune.importance == "reconstruction" and self.config.given.sparsify is None:
            return "train"
        return STARTS_FROM["prune"]

    def stages_to(self, stage: str) -> set[str]:
        """The stage and all that it needs, but for what the given networks stand for."""
        needed: set[str] = set()
        asked = [stage]
        while asked:
            name = asked.pop()
            if name in needed or getattr(self.config.given, name, None):
                continue
            needed.add(name)
            if name in STARTS_FROM:
                asked.append(self.uncut if name == "prune" else STARTS_FROM[name])
            teacher = self.config.distill.teacher
            asked += [teacher] if name == "distill" and isinstance(teacher, str) else []
        return needed

    def named_files(self, network: Network) -> tuple[Path, Path] | None:
        """The cfg and weights that the config names for a network, None where it is a stage's result.

        Raises:
            InputError: a folder is named that holds no network.
        """
        named = getattr(self.config.given, network) if isinstance(network, str) else network
        if named is None:
            return None
        return model_paths(named[0]) if len(named) == 1 else (named[0], named[1])

    def network_files(self, network: Network) -> tuple[Path, Path]:
        """A network's cfg and weights.

        Raises:
            InputError: the stage has not run, or a folder is named that holds no network.
        """
        named = self.named_files(network)
        if named:
            return named
        folder = self.folder(str(network))
        folder.results()  # says which stage to run first
        return model_paths(folder.path)

    def load_network(self, network: Network) -> DarknetNetwork:
        """A network in eval mode.

        Raises:
            InputError: the stage has not run, or the network is for another input size or other classes.
        """
        files = self.network_files(network)
        loaded = load_model(*files)
        wanted = self.config.network.input_hw, len(self.class_names)
        found = loaded.cfg.input_hw, loaded.cfg.classes
        if found != wanted:
            expected, made = (f"{hw[0]}x{hw[1]} pixels and {classes} classes" for hw, classes in (wanted, found))
            remedy = "Run the stages before this one again: `roadslim compress CONFIG`"
            if self.named_files(network):
                remedy = "Correct 'input_hw' in [network] or the data, or name another network"
            raise InputError(
                f"{files[0].parent}: expected a network for {expected}, as config and data say, found one for {made}. "
                f"{remedy}"
            )
        return loaded

    def network_hashes(self, network: Network) -> dict[str, Any]:
        """What identifies a network."""
        cfg, weights = self.network_files(network)
        return {"model.cfg": sha256_of(cfg), "model.weights": sha256_of(weights)}

    def teacher_hashes(self) -> dict[str, Any]:
        """What identifies the teacher of the fine-tuning.

        Raises:
            InputError: its stage has not run.
        """
        teacher = self.config.distill.teacher
        try:
            return self.network_hashes(teacher)
        except InputError as error:
            if not isinstance(teacher, str):
                raise
            raise InputError(
                f"the teacher of the fine-tuning: {error}, or name a network for it: `given: {{{teacher}: FOLDER}}`"
            ) from error

    def size(self, network: Network) -> dict[str, Any]:
        """`params` and `gmacs` of a network."""
        cfg = read_cfg(self.network_files(network)[0])
        return {"params": parameter_count(cfg), "gmacs": gmacs(cfg)}

    def map50(self, network: Network) -> float:
        """mAP50 of a network on the validation split: as its stage found it, or measured where the config names it."""
        if not self.named_files(network):
            return float(self.folder(str(network)).results()["map50"])
        loaded = self.load_network(network)
        return evaluate(loaded, loaded.heads, self.held_out(), self.class_names).map50


def hash_of(path: Path | None) -> str | None:
    """A named input file's hash, or None where none is named."""
    return None if path is None else sha256_of(path)
