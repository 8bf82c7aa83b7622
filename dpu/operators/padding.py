"""Borders around a tensor: of one value, or mirrored from the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dpu.operators.movement import same_grid
from dpu.operators.resizing import Select, check_extents
from dpu.program import Step

if TYPE_CHECKING:
    from dpu.graph import Op
    from dpu.onnx_builder import OnnxBuilder
    from dpu.program_reader import Reader

_MIRRORS = {"REFLECT": "reflect", "SYMMETRIC": "symmetric"}  # without and with the border pixel itself, as numpy says


@dataclass(frozen=True)
class Pad(Step):
    """A border of one value: before and after each axis so many."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    fill: int

    def output_shape(self) -> tuple[int, ...]:
        sizes = zip(self.before, self.input.shape, self.after)  # noqa: B905
        return tuple(before + size + after for before, size, after in sizes)

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        return np.pad(x, list(zip(self.before, self.after)), constant_values=self.fill)  # noqa: B905

    def build(self, onnx: OnnxBuilder) -> str:
        axes = sorted(range(len(self.before)), key=lambda axis: onnx.axis(self.input, axis))
        pads = onnx.integers(tuple([self.before[axis] for axis in axes] + [self.after[axis] for axis in axes]))
        return onnx.node("Pad", [onnx.take(self.input), pads, onnx.scalar(float(self.fill))])


def _pad(reader: Reader, op: Op) -> tuple[Step, ...]:
    output, source = same_grid(reader, op)
    paddings, mode = op.typed("paddings", "int32_vec", ()), op.typed("mode", "string")
    if len(paddings) != 2 * len(source.shape) or not all(0 <= size <= 4096 for size in paddings):
        raise reader.unsupported(
            op, f"paddings {list(paddings)}: expected two whole numbers from 0 to 4096 for each axis"
        )
    before, after = tuple(paddings[0::2]), tuple(paddings[1::2])
    if mode == "CONSTANT":
        fills = set(np.frombuffer(op.typed("constant_values", "bytes", b""), np.int8).tolist()) or {0}
        if len(fills) > 1:
            raise reader.unsupported(op, f"it pads with different values {sorted(fills)}, expected one")
        return (Pad(output, (source,), before, after, fills.pop()),)
    if mode not in _MIRRORS:
        raise reader.unsupported(op, f"padding mode {mode!r} is not known to this software DPU")
    source = reader.picture(op)
    check_extents(reader, op, source.shape)
    most = [size - (mode == "REFLECT") for size in source.shape]
    if any(paddings[axis] for axis in (0, 1, 6, 7)) or any(max(before[a], after[a]) > most[a] for a in (1, 2)):
        raise reader.unsupported(op, f"paddings {list(paddings)} are not mirrored rows and columns of {source.shape}")
    rows, columns = (
        np.pad(np.arange(source.shape[axis]), (before[axis], after[axis]), mode=_MIRRORS[mode])  # type: ignore[call-overload]
        for axis in (1, 2)
    )
    return (Select(output, (source,), rows, columns),)


READERS = {"pad-fix": _pad}
