"""What a DPU subgraph computes, as a list of typed steps: the form both engines work from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

import numpy as np

from dpu.arithmetic import Activation


@dataclass(frozen=True)
class Value:
    """An int8 tensor of the program, shape (1, H, W, C); `name` is unique in it."""

    name: str
    shape: tuple[int, ...]
    fix_point: int


@dataclass(frozen=True)
class Convolution:
    """int8 convolution with bias and activation; weights (O, kh, kw, I), bias (O,) or None."""

    output: Value
    input: Value
    weights: np.ndarray
    weights_fix_point: int
    bias: np.ndarray | None
    bias_fix_point: int
    stride_hw: tuple[int, int]
    pad_tblr: tuple[int, int, int, int]
    dilation_hw: tuple[int, int]
    activation: Activation


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; padding never wins."""

    output: Value
    input: Value
    kernel_hw: tuple[int, int]
    stride_hw: tuple[int, int]
    pad_tblr: tuple[int, int, int, int]


@dataclass(frozen=True)
class Add:
    """Element-wise sum with an activation."""

    output: Value
    inputs: tuple[Value, ...]
    activation: Activation


@dataclass(frozen=True)
class Concat:
    """Tensors joined along an axis of (1, H, W, C)."""

    output: Value
    inputs: tuple[Value, ...]
    axis: int


@dataclass(frozen=True)
class Upsample:
    """Nearest neighbour, by whole factors."""

    output: Value
    input: Value
    scale_hw: tuple[int, int]


Step = Union[Convolution, MaxPool, Add, Concat, Upsample]  # noqa: UP007 (evaluated at import on Python 3.9)


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


def step_inputs(step: Step) -> tuple[Value, ...]:
    """The activations that a step reads."""
    return step.inputs if isinstance(step, (Add, Concat)) else (step.input,)


def output_shape(step: Step) -> tuple[int, ...]:
    """The shape that a step's inputs and attributes give."""
    if isinstance(step, Convolution):
        top, bottom, left, right = step.pad_tblr
        channels, kernel_h, kernel_w, _ = step.weights.shape
        _, height, width, _ = step.input.shape
        return (
            1,
            (height + top + bottom - (kernel_h - 1) * step.dilation_hw[0] - 1) // step.stride_hw[0] + 1,
            (width + left + right - (kernel_w - 1) * step.dilation_hw[1] - 1) // step.stride_hw[1] + 1,
            channels,
        )
    if isinstance(step, MaxPool):
        top, bottom, left, right = step.pad_tblr
        _, height, width, channels = step.input.shape
        return (
            1,
            (height + top + bottom - step.kernel_hw[0]) // step.stride_hw[0] + 1,
            (width + left + right - step.kernel_hw[1]) // step.stride_hw[1] + 1,
            channels,
        )
    if isinstance(step, Concat):
        shape = list(step.inputs[0].shape)
        for value in step.inputs[1:]:
            if any(value.shape[a] != shape[a] for a in range(4) if a != step.axis):
                return ()
            shape[step.axis] += value.shape[step.axis]
        return tuple(shape)
    if isinstance(step, Upsample):
        _, height, width, channels = step.input.shape
        return (1, height * step.scale_hw[0], width * step.scale_hw[1], channels)
    return step.inputs[0].shape
