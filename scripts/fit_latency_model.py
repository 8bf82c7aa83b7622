"""Fit the constants of `dpu.latency` on networks with published ZCU104 and KV260 figures, and say how well they do.

    python scripts/fit_latency_model.py ../shared/data/zcu104/networks.json

One-core DPU time is taken as 1 / (KV260 frames a second, several threads), since KV260 has one such core; two-core and
end-to-end figures are ZCU104's. Networks whose figure the CPU limits are left out of the one-core and two-core fits.
Leave-one-out: each network is predicted with constants fitted on the others only (networks of the same architecture
count as one, so that a twin does not give the answer away).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dpu.architecture import BOARDS
from dpu.latency import FITTED, Constants, Layer, Prediction, predict

CPU_LIMITED = ("pt_yolov5n", "cf_squeezenet")
TWINS = ("resnet18", "resnet50", "resnetv1", "yolov4", "inceptionv1", "squeezenet", "yolov5", "mbv1", "mbv2")
STAGES = {  # what is fitted on which figure, in this order
    "one core": ("overhead_us", "bandwidth", "compute_share", "resident_share"),
    "two cores": ("memory_bandwidth",),
    "end to end": ("cpu_base_ms", "cpu_ms_per_megapixel", "cpu_detection_ms"),
}
LIMITS = {"compute_share": (0.5, 1.0), "resident_share": (0.0, 1.0), "memory_bandwidth": (0.3, 1.0)}


def layers_of(network: dict[str, Any]) -> list[Layer]:
    """A network's layers out of its JSON table."""
    return [
        Layer(str(i), x["kind"], tuple(x["in_hwc"]), tuple(x["out_hwc"]), tuple(x["kernel_hw"]), x["stride"])
        for i, x in enumerate(network["layers"])
    ]


def predicted(network: dict[str, Any], constants: Constants) -> Prediction:
    """The prediction on a ZCU104."""
    return predict(
        network["table"],
        BOARDS["zcu104"],
        task=network["task"],
        constants=constants,
        isa=network["isa"],
    )


def ratio(network: dict[str, Any], stage: str, constants: Constants) -> float:
    """Published time / predicted time."""
    forecast = predicted(network, constants)
    if stage == "one core":
        return 1000.0 / float(network["kv260_fps_multi_thread"]) / forecast.dpu_ms
    if stage == "two cores":
        return forecast.fps_all_cores / float(network["zcu104_fps_multi_thread"])
    return 1000.0 / float(network["zcu104_fps_1_thread"]) / forecast.end_to_end_ms_one_thread


def usable(networks: Sequence[dict[str, Any]], stage: str) -> list[dict[str, Any]]:
    """The networks whose figure of a stage tells what is fitted."""
    return [n for n in networks if stage == "end to end" or n["name"] not in CPU_LIMITED]


def fit(networks: Sequence[dict[str, Any]], start: Constants = FITTED) -> Constants:
    """Constants with the least sum of squared log ratios, stage by stage."""
    constants = start
    for stage, names in STAGES.items():
        rows = usable(networks, stage)

        def loss(
            values: np.ndarray,
            stage: str = stage,
            names: Sequence[str] = names,
            base: Constants = constants,
            rows: Sequence[dict[str, Any]] = rows,
        ) -> float:
            trial = replace(base, **dict(zip(names, map(float, values), strict=True)))
            return float(sum(np.log(ratio(network, stage, trial)) ** 2 for network in rows))

        best = pattern_search(
            loss,
            np.array([getattr(constants, name) for name in names]),
            [LIMITS.get(name, (1e-3, 1e3)) for name in names],
        )
        constants = replace(constants, **dict(zip(names, map(float, best), strict=True)))
    return constants


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


def kin(name: str) -> str:
    """The architecture that networks share."""
    return next((twin for twin in TWINS if twin in name), name)


def main() -> None:
    """Fit, print the constants, the leave-one-out table and the band."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", type=Path, help="networks.json")
    networks = json.loads(parser.parse_args().networks.read_text())
    for network in networks:
        network["table"] = layers_of(network)
    constants = fit(networks)
    print({key: round(value, 4) for key, value in vars(constants).items()})
    left_out = {
        name: fit([n for n in networks if kin(n["name"]) != name], constants)
        for name in sorted({kin(n["name"]) for n in networks})
    }
    print(f"{'network':<18}" + "".join(f"{stage:>12}" for stage in STAGES) + "   published/predicted, left out")
    errors: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for network in networks:
        cells = ""
        for stage in STAGES:
            value = ratio(network, stage, left_out[kin(network["name"])])
            counted = network in usable(networks, stage)
            errors[stage] += [value] if counted else []
            cells += f"{value:>11.3f}" + (" " if counted else "*")
        print(f"{network['name']:<18}{cells}")
    for stage, values in errors.items():
        fitted = np.mean([abs(ratio(n, stage, constants) - 1) for n in usable(networks, stage)])
        wrong = [abs(1 / value - 1) for value in values]
        print(f"{stage}: leave-one-out mean error {np.mean(wrong):.1%}, worst {max(wrong):.1%}; fitted {fitted:.1%}")
    print("band of one-core time, 5 % to 95 %:", np.quantile(errors["one core"], [0.05, 0.95]).round(3))
    print("* the CPU limits the published figure; not counted")


if __name__ == "__main__":
    main()
