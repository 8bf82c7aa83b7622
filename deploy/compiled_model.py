"""What came out of the compiler: is it the network that went in, and how do its tensors belong to the heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from board_app.core.detector_json import DetectorSpec, HeadSpec
from board_app.core.int8_input import quantise_pixels
from deploy.errors import CompileError
from dpu import xmodel
from dpu.compatibility import check
from dpu.errors import DpuError
from dpu.executor import Executor, only_dpu_subgraph
from dpu.graph import Graph, Op
from dpu.summary import boundary

Heads = list[np.ndarray]  # per head float32 (N, H, W, C), real values


@dataclass(frozen=True)
class Comparison:
    """Raw heads of two models on the same images.

    Attributes:
        images: how many.
        equal_share: of the numbers, those that are equal.
        max_abs_difference: the largest difference, as a real value.
        relative_error: root mean square of the differences, as a share of that of the first model's numbers.
    """

    images: int
    equal_share: float
    max_abs_difference: float
    relative_error: float

    def __str__(self) -> str:
        if self.equal_share == 1:
            return f"every number equal on {self.images} images"
        return (
            f"{100 * self.equal_share:.3f} % of the numbers equal on {self.images} images, "
            f"error {100 * self.relative_error:.2f} % RMS, largest difference {self.max_abs_difference:g}"
        )


def compiled_graph(path: Path, fingerprint: int) -> Graph:
    """The model in the compiler's file.

    Raises:
        CompileError: it would not run on the DPU with that fingerprint; with every reason.
    """
    try:
        graph = xmodel.load(path)
        verdict = check(graph, fingerprint=fingerprint)
    except DpuError as error:
        raise CompileError(f"expected a compiled model from vai_c_xir, found: {error}") from error
    if not verdict.runs_in_application or not graph.subgraphs("DPU"):
        reasons = "".join(f"\n  - {reason.message} {reason.remedy}" for reason in verdict.reasons)
        raise CompileError(f"expected a model that runs on DPU 0x{fingerprint:x}, found:{reasons}")
    return graph


def compiled_spec(graph: Graph, spec: DetectorSpec) -> DetectorSpec:
    """The spec with the compiled graph's tensors and fix points in place of the quantised one's.

    Raises:
        CompileError: the DPU subgraph's inputs or outputs are not those of the detector.
    """
    entering, leaving = boundary(graph, only_dpu_subgraph(graph))
    inputs = _of_shape(entering, (1, *spec.input_hw, 3))
    if len(entering) != 1 or len(inputs) != 1:
        raise CompileError(
            f"expected one input [1, {spec.input_hw[0]}, {spec.input_hw[1]}, 3] of the DPU subgraph, found "
            f"{_listing(entering)}. The compiler put part of the network on the CPU: its log says which operator."
        )
    heads = tuple(_compiled_head(head, spec, leaving) for head in spec.heads)
    if len(leaving) != len(heads) or len({head.output for head in heads}) != len(heads):
        raise _wrong_outputs(spec, leaving)
    return replace(
        spec, kind="compiled", heads=heads, input_tensor=inputs[0].output.name, input_fix_point=_fix_point(inputs[0])
    )


def head_values(graph: Graph, spec: DetectorSpec, images_rgb: np.ndarray) -> Heads:
    """The raw heads by the software DPU; images are uint8 (N, H, W, 3). Raises DpuError for an unknown operator."""
    executor = Executor(graph)
    runs = [
        executor.run({spec.input_tensor: quantise_pixels(image, spec.input_fix_point, spec.pixel_scale)[None]})
        for image in images_rgb
    ]
    return [
        np.concatenate([run[head.output] for run in runs]).astype(np.float32) * np.float32(2.0**-head.fix_point)
        for head in spec.heads
    ]


def compare(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> Comparison:
    """How far two models' heads, in the same order, agree.

    Raises:
        CompileError: they have other shapes.
    """
    shapes = [[head.shape for head in heads] for heads in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise CompileError(f"expected heads of shapes {shapes[0]}, found {shapes[1]}. Name the network of the bundle.")
    first = np.concatenate([head.ravel() for head in ours]).astype(np.float64)
    differences = np.abs(first - np.concatenate([head.ravel() for head in theirs]))
    size = float(np.sqrt(np.mean(first**2)))
    error = float(np.sqrt(np.mean(differences**2)))
    return Comparison(
        images=len(ours[0]),
        equal_share=float(np.mean(differences == 0)),
        max_abs_difference=float(differences.max()),
        relative_error=error / size if size else float(error > 0),
    )


def _compiled_head(head: HeadSpec, spec: DetectorSpec, leaving: Sequence[Op]) -> HeadSpec:
    height, width = spec.input_hw
    shape = (1, height // head.stride, width // head.stride, len(head.anchors) * (5 + len(spec.classes)))
    found = _of_shape(leaving, shape)
    if len(found) > 1:  # two heads of one shape: only the name can tell
        found = [op for op in found if op.output.name == head.output]
    if len(found) != 1:
        raise _wrong_outputs(spec, leaving)
    return replace(head, output=found[0].output.name, fix_point=_fix_point(found[0]))


def _wrong_outputs(spec: DetectorSpec, leaving: Sequence[Op]) -> CompileError:
    strides = ", ".join(str(head.stride) for head in spec.heads)
    return CompileError(
        f"expected one output of the DPU subgraph for each head (strides {strides}), found {_listing(leaving)}. "
        "The compiler put part of the network on the CPU: its log says which operator."
    )


def _of_shape(ops: Sequence[Op], shape: tuple[int, ...]) -> list[Op]:
    return [op for op in ops if op.output.shape == shape]


def _fix_point(op: Op) -> int:
    fix_point: Any = op.output.value("fix_point")
    if not isinstance(fix_point, int):
        raise CompileError(
            f"expected a fix point of the compiled model's tensor {op.output.name!r}, found none. "
            "The compiler left it in float: its log says why."
        )
    return fix_point


def _listing(ops: Sequence[Op]) -> str:
    return ", ".join(f"{op.output.name} {list(op.output.shape)}" for op in ops) or "none"
