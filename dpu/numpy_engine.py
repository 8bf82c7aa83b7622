"""The plain engine: every step in whole numbers with numpy. Slow, and the oracle of the fast one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dpu import arithmetic
from dpu.program import Add, Concat, Convolution, MaxPool, Program, Step, Value


class NumpyEngine:
    """Runs a program step by step. Holds no state between runs, so threads may share it."""

    name = "numpy"

    def __init__(self, program: Program) -> None:
        self._program = program

    def prepare(self, names: tuple[str, ...]) -> None:
        """Nothing to prepare."""

    def run(self, inputs: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """The named int8 tensors (values of the program or its outputs) for int8 inputs by name."""
        held = {value.name: inputs[value.name] for value in self._program.inputs}
        for step in self._program.steps:
            held[step.output.name] = run_step(step, held)
        values = self._program.values()
        return {name: held[values[name].name] for name in names}


def run_step(step: Step, held: Mapping[str, np.ndarray]) -> np.ndarray:
    """The int8 output of one step, given all earlier tensors by name."""

    def take(value: Value) -> np.ndarray:
        return held[value.name]

    target = step.output.fix_point
    if isinstance(step, Convolution):
        total = arithmetic.convolve(take(step.input), step.weights, step.stride_hw, step.pad_tblr, step.dilation_hw)
        position = step.input.fix_point + step.weights_fix_point
        if step.bias is not None:
            total, position = arithmetic.add_bias(total, position, step.bias, step.bias_fix_point)
        return arithmetic.finish(total, position, target, step.activation)
    if isinstance(step, MaxPool):
        pooled = arithmetic.max_pool(take(step.input), step.kernel_hw, step.stride_hw, step.pad_tblr)
        return arithmetic.requantise(pooled, step.input.fix_point, target)
    if isinstance(step, Add):
        arrays, positions = [take(v) for v in step.inputs], [v.fix_point for v in step.inputs]
        return arithmetic.add(arrays, positions, target, step.activation)
    if isinstance(step, Concat):
        arrays, positions = [take(v) for v in step.inputs], [v.fix_point for v in step.inputs]
        return arithmetic.concat(arrays, positions, target, step.axis)
    enlarged = arithmetic.upsample_nearest(take(step.input), step.scale_hw)
    return arithmetic.requantise(enlarged, step.input.fix_point, target)
