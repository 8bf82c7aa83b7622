"""Networks with published figures, and the constants of `dpu.latency` that fit them best."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from further_networks import SEGMENTATION

from bench.predict import networks_of
from dpu.latency import FITTED, Constants, Layer, predict

CPU_LIMITED = ("pt_yolov5n", "cf_squeezenet")
FAMILIES = ("resnet18", "resnet50", "resnetv1", "yolov4", "inceptionv1", "squeezenet", "yolov5", "mbv1", "mbv2")
STAGES = {  # what is fitted on which figure, in this order
    "one core": ("overhead_us", "bandwidth", "compute_share", "resident_share", "isa0_bandwidth_share"),
    "two cores": ("memory_bandwidth",),
    "end to end": ("cpu_base_ms", "cpu_ms_per_megapixel", "cpu_detection_ms"),
}
LIMITS = {"compute_share": (0.5, 1.0), "resident_share": (0.0, 1.0), "isa0_bandwidth_share": (0.5, 1.5)}


@dataclass(frozen=True)
class Network:
    """A network with its published figures; `published` has a number for each of STAGES (ms, ms or frames a second)."""

    name: str
    layers: tuple[Layer, ...]
    task: str
    isa: int
    published: dict[str, float]
    pruned: bool = False

    @property
    def family(self) -> str:
        """What leave-one-architecture-out leaves out together."""
        return next((family for family in FAMILIES if family in self.name), self.name)

    def predicted(self, stage: str, constants: Constants) -> float:
        """The same figure out of the model."""
        forecast = predict(self.layers, "zcu104", task=self.task, constants=constants, isa=self.isa)
        return {
            "one core": forecast.dpu_ms,
            "two cores": forecast.fps_all_cores,
            "end to end": forecast.end_to_end_ms_one_thread,
        }[stage]

    def ratio(self, stage: str, constants: Constants) -> float:
        """Predicted / published, as times."""
        ratio = self.predicted(stage, constants) / self.published[stage]
        return 1 / ratio if stage == "two cores" else ratio

    def fitted_ratio(self, stage: str, constants: Constants) -> float:
        """What the fit brings near 1: `ratio`, but end to end with the published DPU time, whose errors stay out."""
        if stage != "end to end":
            return self.ratio(stage, constants)
        cpu_ms = self.predicted(stage, constants) - self.predicted("one core", constants)
        return (self.published["one core"] + cpu_ms) / self.published[stage]

    def counted(self, stage: str) -> bool:
        """Whether the figure tells what is fitted."""
        return stage == "end to end" or self.name not in CPU_LIMITED


def figures(kv260_fps: float, zcu104_fps: float, zcu104_fps_1_thread: float) -> dict[str, float]:
    """Published figures by stage."""
    return {"one core": 1e3 / kv260_fps, "two cores": zcu104_fps, "end to end": 1e3 / zcu104_fps_1_thread}


def load(path: Path) -> list[Network]:
    """The networks of the table."""
    return [
        Network(
            row["name"],
            network.layers,
            network.task,
            network.isa,
            figures(row["kv260_fps_multi_thread"], row["zcu104_fps_multi_thread"], row["zcu104_fps_1_thread"]),
            bool(row.get("pruned", False)) or "pruned" in row["name"],
        )
        for network, row in zip(networks_of(path), json.loads(path.read_text()), strict=True)
    ]


def fit(networks: Sequence[Network], start: Constants = FITTED) -> Constants:
    """Constants with the least sum of absolute log ratios, stage by stage; an outlier pulls no harder than others."""
    constants = start
    for stage, names in STAGES.items():
        rows = [network for network in networks if network.counted(stage)]

        def loss(
            values: np.ndarray,
            stage: str = stage,
            names: Sequence[str] = names,
            base: Constants = constants,
            rows: Sequence[Network] = rows,
        ) -> float:
            trial = replace(base, **dict(zip(names, map(float, values), strict=True)))
            return float(sum(abs(np.log(network.fitted_ratio(stage, trial))) for network in rows))

        best = pattern_search(
            loss,
            np.array([getattr(constants, name) for name in names]),
            [LIMITS.get(name, (1e-3, 1e3)) for name in names],
        )
        constants = replace(constants, **dict(zip(names, map(float, best), strict=True)))
    return replace(constants, cpu_ms_per_million_scores=segmentation_constant(constants))


def segmentation_constant(constants: Constants) -> float:
    """Milliseconds per million class scores: the median over SEGMENTATION, none of which is in the table."""
    return float(
        np.median(
            [
                (1e3 / one_thread - 1e3 / kv260 - constants.cpu_base_ms - constants.cpu_ms_per_megapixel * h * w / 1e6)
                / scores
                for _, kv260, one_thread, (h, w), scores in SEGMENTATION
            ]
        )
    )


def pattern_search(
    loss: Callable[[np.ndarray], float], start: np.ndarray, limits: Sequence[tuple[float, float]]
) -> np.ndarray:
    """A plain coordinate search with shrinking relative steps; deterministic."""
    best, value, step = start.copy(), loss(start), 0.3
    while step > 1e-3:
        moved = False
        for index, (low, high) in enumerate(limits):
            for factor in (1 + step, 1 / (1 + step)):
                trial = best.copy()
                trial[index] = min(max(trial[index] * factor, low), high)
                trial_value = loss(trial)
                if trial_value < value - 1e-12:
                    best, value, moved = trial, trial_value, True
        if not moved:
            step /= 2
    return best


def left_out(networks: Sequence[Network], key: Callable[[Network], str], start: Constants) -> dict[str, Constants]:
    """For each network's name the constants fitted without those of the same key."""
    by_key = {
        each: fit([network for network in networks if key(network) != each], start)
        for each in sorted({key(network) for network in networks})
    }
    return {network.name: by_key[key(network)] for network in networks}
