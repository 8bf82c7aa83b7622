"""What a DPU subgraph computes, as a list of typed steps: the form both engines work from.

Each kind of step is a dataclass in `dpu.operators`, which knows its output's shape, its whole-number arithmetic (numpy)
and its ONNX nodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dpu.onnx_builder import OnnxBuilder


@dataclass(frozen=True)
class Value:
    """An int8 tensor of the program; pictures have shape (1, H, W, C). `name` is unique in the program."""

    name: str
    shape: tuple[int, ...]
    fix_point: int


@dataclass(frozen=True)
class Step(ABC):
    """One operator on int8 tensors, its attributes checked and its weights resolved."""

    output: Value
    inputs: tuple[Value, ...]

    @property
    def input(self) -> Value:
        """The first input; most operators have one."""
        return self.inputs[0]

    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """The shape that the inputs and attributes give; `()` where the inputs contradict each other."""

    @abstractmethod
    def run(self, *inputs: np.ndarray) -> np.ndarray:
        """The int8 output of the int8 inputs, in whole numbers."""

    @abstractmethod
    def build(self, onnx: OnnxBuilder) -> str:
        """Add nodes that give exactly the same; returns the output's tensor, in the builder's layout."""


@dataclass(frozen=True)
class Program:
    """The steps of one DPU subgraph in order; `outputs` maps the names outside to the program's values."""

    subgraph: str
    inputs: tuple[Value, ...]
    outputs: dict[str, Value]
    steps: tuple[Step, ...]

    def values(self) -> dict[str, Value]:
        """Every tensor by name: inputs, then steps in order, then outputs under their outer names."""
        named = {value.name: value for value in self.inputs}
        named.update((step.output.name, step.output) for step in self.steps)
        named.update(self.outputs)
        return named
