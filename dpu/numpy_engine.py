"""The plain engine: every step in whole numbers with numpy. Slow, and the oracle of the fast one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dpu.program import Program


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
            held[step.output.name] = step.run(*(held[value.name] for value in step.inputs))
        values = self._program.values()
        return {name: held[values[name].name] for name in names}
