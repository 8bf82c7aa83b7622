"""The stages of a run, each estimated with the networks, steps and settings that it would have."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from compress.config import CompressConfig, TrainingConfig
from compress.darknet.cfg import Cfg, read_cfg
from compress.darknet.cost import gmacs, parameter_count
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import randomise
from compress.darknet.topologies import with_anchors
from compress.estimate.memory import Peak, available_bytes, available_to_steps, forget_peak, peak
from compress.estimate.pictures import Pictures, pictures_of
from compress.estimate.probe import Prober, Workload, quiet
from compress.estimate.stage_estimate import Splits, StageEstimate, training_estimate
from compress.pruning import prune
from compress.quantization import QuantizedNetwork, quantize
from compress.quantization.grid_network import GridNetwork
from compress.quantization.quantizer import Equalization
from compress.quantization.report import measure
from compress.stages.cut import check_target, prune_options
from compress.stages.driver import STAGE_NAMES
from compress.stages.run import Run
from compress.stages.training import initialise, teaching
from compress.starting_point import complaints_of, starting_cfg
from compress.training import processes
from compress.training.batch import StepHook
from compress.training.evaluation import evaluate
from compress.training.heap import keep_freed_memory
from compress.training.loader import TrainingImages, to_input
from compress.training.memory import enough_memory
from compress.training.sparsity import Sparsity

log = logging.getLogger(__name__)
_FLOAT_BYTES = 4
_CALIBRATION_IMAGES = 1


@dataclass(frozen=True)
class RunEstimate:
    """Every stage that would run, the pictures counted with, and the device's memory."""

    stages: tuple[StageEstimate, ...]
    splits: Splits
    pictures: str
    available_bytes: int

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)


def estimate_run(config: CompressConfig, until: str, images: int | None = None) -> RunEstimate:
    """Estimate the stages that lead to `until`, without training anything to the end.

    Args:
        config: the run.
        until: its last stage.
        images: of training; None counts the dataset's.
    Raises:
        UsageError: there is no dataset and `images` is None, or the run could not end well.
        RoadslimError: not even the smallest steps find memory.
    """
    network = config.network.model_copy(update={"weights": None})  # which need not be there yet, and cost nothing,
    distill = config.distill.model_copy(update={"rewind": False})  # as going back to them does
    run = Run(config.model_copy(update={"network": network, "distill": distill}))
    for complaint in complaints_of(config):
        log.warning("the run itself would be refused: %s", complaint)
    torch.set_num_threads(processes.threads(config.threads))
    keep_freed_memory()
    with pictures_of(run, images) as pictures:
        here, estimator = available_bytes(), _Estimator(run, pictures)
        wanted = [name for name in STAGE_NAMES if name in run.stages_to(until)]
        if "sparsify" in wanted or "prune" in wanted:
            estimator.check_target()
        stages = [_estimated(estimator, name) for name in wanted]
        return RunEstimate(tuple(stages), pictures.splits, pictures.note, here)


def _estimated(estimator: _Estimator, stage: str) -> StageEstimate:
    height, width = estimator.run.config.network.input_hw
    expected = f"--estimate: expected memory for some small steps of {stage}, of a run with {height}x{width} pixels"
    with enough_memory(expected, "Make the input smaller, or take a machine with more memory"):
        estimate: StageEstimate = getattr(estimator, stage)()
        return estimate


@dataclass
class _Estimator:
    """One method a stage."""

    run: Run
    pictures: Pictures

    def train(self) -> StageEstimate:
        """The full network's plain training."""
        return self._training("train", self._full, self.run.config.train, self._plain)

    def sparsify(self) -> StageEstimate:
        """The full network's, with what sparse training adds."""
        config = self.run.config

        def work(input_hw: tuple[int, int]) -> tuple[DarknetNetwork, StepHook]:
            network = _fresh(self._full, input_hw)
            teacher = teaching(config.sparsify, network, lambda: network)
            return network, Sparsity(network, prune_options(config.prune), config.sparsify, teacher)

        return self._training("sparsify", self._full, config.sparsify, work)

    def prune(self) -> StageEstimate:
        """The cut itself, really made, of random scales; evaluations; and what is trained between rounds."""
        config, size = self.run.config.prune, (parameter_count(self._small), gmacs(self._small))
        _, seconds, memory = self._cut
        training = min(config.recalibration_images, self.pictures.splits.train)
        evaluation_s = self._evaluation_s(self._small) * (self.pictures.splits.val + training)
        if config.importance == "reconstruction":  # what is chosen, then what makes up for the others
            evaluation_s += 2 * self._evaluation_s(self._full) * training
        estimate = StageEstimate(
            "prune", *size, 0, config.rounds * seconds, config.rounds * evaluation_s,
            memory.process_bytes, 0, _FLOAT_BYTES * size[0], "estimated from one cut of random scales",
        )  # fmt: skip
        if config.between is None:
            return estimate
        times = config.rounds - 1
        tuning = self._training("prune", self._full, config.between, self._plain)
        return replace(
            tuning,
            params=size[0],
            gmacs=size[1],
            epochs=times * tuning.epochs,
            training_s=estimate.training_s + times * tuning.training_s,
            evaluation_s=estimate.evaluation_s + times * tuning.evaluation_s,
            origin=f"{tuning.origin}; between rounds at most, as of the unpruned network",
        )

    def distill(self) -> StageEstimate:
        """The small network's training with its teacher."""
        config = self.run.config.distill

        def work(input_hw: tuple[int, int]) -> tuple[DarknetNetwork, StepHook]:
            network = _fresh(self._small, input_hw)
            return network, teaching(config, network, lambda: _fresh(self._teacher, input_hw))

        return self._training("distill", self._small, config, work)

    def quantize(self) -> StageEstimate:
        """The calibration, one evaluation in integers, and the training on the grid where it is wanted."""
        config = self.run.config.quantize
        estimate = self._calibration()
        if config.fine_tune is None:
            return estimate

        def work(input_hw: tuple[int, int]) -> tuple[GridNetwork, StepHook]:
            network = _fresh(self._small, input_hw)
            on_grid = GridNetwork(network, self._quantized(network, "off"))
            return on_grid, teaching(self.run.config.distill, on_grid, lambda: _fresh(self._teacher, input_hw))

        tuning = self._training("quantize", self._small, config.fine_tune, work)
        return replace(
            tuning,
            training_s=tuning.training_s + estimate.training_s,
            evaluation_s=tuning.evaluation_s + estimate.evaluation_s,
            process_bytes=max(tuning.process_bytes, estimate.process_bytes),
        )

    def bundle(self) -> StageEstimate:
        """Two copies of the graph."""
        size = parameter_count(self._small), gmacs(self._small)
        return StageEstimate(
            "bundle", *size, 0, 0.1, 0.0, 0, 0, 2 * _FLOAT_BYTES * size[0], "estimated from the parameters"
        )

    def check_target(self) -> None:
        """Refuse a target that is out of reach, at the run's own size: steps are measured at smaller ones.

        Raises:
            InputError: it is.
        """
        check_target(self._full, self.run.config.prune)

    def _plain(self, input_hw: tuple[int, int]) -> tuple[DarknetNetwork, StepHook]:
        return _fresh(self._full, input_hw), StepHook()

    @cached_property
    def _full(self) -> Cfg:
        run = self.run
        for stage in ("train", "sparsify"):
            files = run.named_files(stage)
            if files:
                return read_cfg(files[0])
        return starting_cfg(run.config.network, len(self.pictures.class_names))

    @cached_property
    def _cut(self) -> tuple[Cfg, float, Peak]:
        """The pruned cfg, the seconds that the cut took, and its memory."""
        files = self.run.named_files("prune") or self.run.named_files("distill")
        if files:
            return read_cfg(files[0]), 0.0, Peak()
        forget_peak()
        network = randomise(DarknetNetwork(self._full))
        started = time.monotonic()
        options = replace(prune_options(self.run.config.prune), importance="gamma")
        small = prune(network, options).network.cfg
        return small, time.monotonic() - started, peak()

    @property
    def _small(self) -> Cfg:
        return self._cut[0]

    @property
    def _teacher(self) -> Cfg:
        """The teacher that is named, or the full network, with the small one's anchors, which a run fits for both."""
        named = self.run.named_files(self.run.config.distill.teacher)
        numbers = next(section.floats("anchors") for section in self._small.layers if section.type == "yolo")
        anchors = list(zip(numbers[::2], numbers[1::2], strict=True))
        return with_anchors(read_cfg(named[0]) if named else self._full, anchors)

    def _evaluation_s(self, cfg: Cfg) -> float:
        """Seconds to evaluate one picture with a network."""
        network = _fresh(cfg, self.run.config.network.input_hw).eval()
        return self._timed_evaluation(network, network)

    def _timed_evaluation(self, forward: DarknetNetwork | QuantizedNetwork, network: DarknetNetwork) -> float:
        images = self._plain_images(network.cfg.input_hw)
        evaluate(forward, network.heads, images, self.pictures.class_names)  # warms up, decodes the pictures
        started = time.monotonic()
        evaluate(forward, network.heads, images, self.pictures.class_names)
        return (time.monotonic() - started) / len(images)

    def _calibration(self) -> StageEstimate:
        config, splits = self.run.config.quantize, self.pictures.splits
        forget_peak()
        network = _fresh(self._small, self.run.config.network.input_hw).eval()
        started = time.monotonic()
        quantized = self._quantized(network, config.equalization)
        measure(quantized, self._batches(network, _CALIBRATION_IMAGES))
        seconds = (time.monotonic() - started) / _CALIBRATION_IMAGES
        evaluation_s = self._timed_evaluation(quantized, network)
        origin = "estimated from one image calibrated"
        if config.calibration_target == "outputs":
            origin += "; the search by outputs comes on top"
        return StageEstimate(
            "quantize", parameter_count(network.cfg), gmacs(network.cfg), 0, seconds * min(config.images, splits.train),
            evaluation_s * splits.val, peak().process_bytes, 0, _FLOAT_BYTES * parameter_count(network.cfg), origin,
        )  # fmt: skip

    def _quantized(self, network: DarknetNetwork, equalization: Equalization) -> QuantizedNetwork:
        batches, correction = self._batches(network, _CALIBRATION_IMAGES), self.run.config.quantize.bias_correction
        with quiet():
            return quantize(network, batches, correction, "tensor", equalization)

    def _batches(self, network: DarknetNetwork, count: int) -> Iterator[Tensor]:
        images = self._plain_images(network.cfg.input_hw)
        for index in range(count):
            yield to_input(torch.from_numpy(images.letterboxed(index % len(images))[0]).permute(2, 0, 1)[None])

    def _plain_images(self, input_hw: tuple[int, int]) -> TrainingImages:
        samples = list(self.pictures.samples[:2])
        return TrainingImages(samples, input_hw, None, self.run.config.seed, self.pictures.class_names)

    def _training(self, stage: str, cfg: Cfg, training: TrainingConfig, work: Workload) -> StageEstimate:
        log.info("%-9s measuring some steps", stage)
        prober = Prober(self.run.config, self.pictures.samples, self.pictures.class_names, available_to_steps())
        cost, ran = prober.cost(work, training)
        size = parameter_count(cfg), gmacs(cfg)
        return training_estimate(stage, size, training, cost, ran, self.pictures.splits, self._cache_bytes())

    def _cache_bytes(self) -> int:
        """Of decoded pictures, of both splits."""
        config, splits = self.run.config, self.pictures.splits
        picture = 3 * config.network.input_hw[0] * config.network.input_hw[1]
        return sum(min(config.cache_mb << 20, count * picture) for count in (splits.train, splits.val))


def _fresh(cfg: Cfg, input_hw: tuple[int, int]) -> DarknetNetwork:
    """The network for pictures of that size, as at the start of a training."""
    network = DarknetNetwork(cfg.with_input_hw(input_hw))
    initialise(network)
    return network
