"""Pictures made larger or smaller: nearest neighbour, and bilinear where its weights are exact.

The mapping is AMD's (xir/built_in_ops.cpp, operator `resize`; cpu_task agrees). Output pixel o looks at the place
o * in / out of the input; with `align_corners` at o * (in - 1) / (out - 1), with `half_pixel_centers` at
(o + 1/2) * in / out - 1/2. Public code computes places in float32; whatever would then depend on float32's rounding
is refused. With `half_pixel_centers` the nearest of these places lies outside of the picture at its border, where
cpu_task reads what is not there; by whole factors all frameworks repeat each pixel, and so does this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from dpu.arithmetic import requantise, saturate, shift_half_up
from dpu.exactness import fits_float32
from dpu.program import Step

if TYPE_CHECKING:
    from dpu.graph import Op
    from dpu.onnx_builder import OnnxBuilder
    from dpu.program_reader import Reader

_WEIGHT_BITS = 7  # bilinear weights are multiples of 2^-7: with int8 and two axes 22 bits, exact in float32
_LARGEST_EXTENT = 2**14


@dataclass(frozen=True)
class Select(Step):
    """The pixels at given rows and columns of a picture; a row or column may come many times."""

    rows: np.ndarray
    columns: np.ndarray

    def output_shape(self) -> tuple[int, ...]:
        return (1, len(self.rows), len(self.columns), self.input.shape[3])

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        return requantise(x[:, self.rows][:, :, self.columns], self.input.fix_point, self.output.fix_point)

    def build(self, onnx: OnnxBuilder) -> str:
        tensor = onnx.take(self.input)
        factors = [_repeats(self.rows, self.input.shape[1]), _repeats(self.columns, self.input.shape[2])]
        if all(factors):
            scales = onnx.constant(np.array([1, 1, *factors], np.float32))
            tensor = onnx.node(
                "Resize",
                [tensor, "", scales],
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )
        else:
            tensor = onnx.node("Gather", [tensor, onnx.integers(tuple(self.rows))], axis=2)
            tensor = onnx.node("Gather", [tensor, onnx.integers(tuple(self.columns))], axis=3)
        return onnx.moved(tensor, self.input.fix_point, self.output.fix_point)


@dataclass(frozen=True)
class Between:
    """For each output row (or column) two input rows, and how much of the second: `part` / 2^bits."""

    lower: np.ndarray
    upper: np.ndarray
    part: np.ndarray
    bits: int


@dataclass(frozen=True)
class Bilinear(Step):
    """Each output pixel is mixed from four input pixels, exactly, and rounded once."""

    rows: Between
    columns: Between

    def output_shape(self) -> tuple[int, ...]:
        return (1, len(self.rows.part), len(self.columns.part), self.input.shape[3])

    def shift(self) -> int:
        """The bits to cut off the mixed integer."""
        return self.rows.bits + self.columns.bits + self.input.fix_point - self.output.fix_point

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        mixed = inputs[0].astype(np.int64)
        for axis, way in ((1, self.rows), (2, self.columns)):
            part = way.part.reshape(-1, *[1] * (3 - axis))
            lower, upper = mixed.take(way.lower, axis), mixed.take(way.upper, axis)
            mixed = (lower << np.int64(way.bits)) + (upper - lower) * part
        return saturate(shift_half_up(mixed, self.shift()))

    def build(self, onnx: OnnxBuilder) -> str:
        mixed = onnx.take(self.input)
        for axis, way in ((2, self.rows), (3, self.columns)):
            lower = onnx.node("Gather", [mixed, onnx.integers(tuple(way.lower))], axis=axis)
            upper = onnx.node("Gather", [mixed, onnx.integers(tuple(way.upper))], axis=axis)
            part = (way.part * 2.0**-way.bits).astype(np.float32).reshape(-1, *[1] * (3 - axis))
            step = onnx.node("Mul", [onnx.node("Sub", [upper, lower]), onnx.constant(part)])
            mixed = onnx.node("Add", [lower, step])
        double = not fits_float32(128 << (self.rows.bits + self.columns.bits), self.shift())
        mixed = onnx.double(mixed) if double else mixed
        scaled = onnx.node("Mul", [mixed, onnx.scalar(2.0 ** (self.output.fix_point - self.input.fix_point), double)])
        return onnx.rounded(scaled, self.shift() > 0, self.output.fix_point, double=double)


def is_exact(mode: str, op: Op, size_hw: tuple[int, ...], out_hw: tuple[int, ...]) -> bool:
    """Whether an enlargement does not depend on how float32 rounds places and weights; others are refused."""
    corners, centers = op.typed("align_corners", "bool", False), op.typed("half_pixel_centers", "bool", False)
    table = _nearest if mode == "NEAREST" else _between
    if max(*size_hw, *out_hw) > _LARGEST_EXTENT:
        return False
    return all(table(size_hw[axis], out_hw[axis], corners, centers) is not None for axis in (0, 1))


def check_extents(reader: Reader, op: Op, shape: tuple[int, ...]) -> None:
    """Refuse pictures whose index tables would be huge."""
    if max(shape[1:3]) > _LARGEST_EXTENT:
        raise reader.unsupported(op, f"a picture of {list(shape)} has more than {_LARGEST_EXTENT} rows or columns")


def _repeats(indices: np.ndarray, size: int) -> int:
    """The factor by which indices repeat each of 0 ... size - 1, or 0."""
    factor = len(indices) // size
    return factor if np.array_equal(indices, np.arange(size).repeat(factor)) else 0


def _places(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> list[Fraction]:
    """Where in the input each output row lies."""
    scale = Fraction(size - 1, out - 1) if align_corners and out > 1 else Fraction(size, out)
    half = Fraction(1, 2)
    return [(o + half) * scale - half if half_pixel_centers else o * scale for o in range(out)]


def _nearest(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> np.ndarray | None:
    """The input row of each output row; None where float32 would find another, or one outside."""
    if half_pixel_centers and not align_corners and out % size == 0:
        return np.arange(size).repeat(out // size)
    half = Fraction(1, 2) if align_corners else Fraction(0)
    places = _places(size, out, align_corners, half_pixel_centers)
    exact = np.array([math.floor(place + half) for place in places])
    one = np.float32(1)
    scale = (
        np.float32(size - 1) / np.float32(out - 1) if align_corners and out > 1 else np.float32(size) / np.float32(out)
    )
    numbers = np.arange(out, dtype=np.float32)
    rough = (numbers + one / 2) * scale - one / 2 if half_pixel_centers else numbers * scale
    rough = np.floor(rough.astype(np.float64) + float(half))
    same = np.array_equal(rough, exact) and exact.min() >= 0
    return np.minimum(exact, size - 1) if same else None


def _between(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Between | None:
    """The two input rows of each output row; None where a weight is not a multiple of 2^-7."""
    places = [
        min(max(p, Fraction(0)), Fraction(size - 1)) for p in _places(size, out, align_corners, half_pixel_centers)
    ]
    bits = max(place.denominator for place in places).bit_length() - 1
    if bits > _WEIGHT_BITS or any((1 << bits) % place.denominator for place in places):
        return None
    lower = np.array([math.floor(place) for place in places])
    part = np.array([int((place - math.floor(place)) * (1 << bits)) for place in places])
    return Between(lower, np.minimum(lower + 1, size - 1), part, bits)


def _scale(reader: Reader, op: Op) -> tuple[float, float]:
    """The {w, h} attribute as (h, w); AMD's reader takes any kind of number."""
    attr = op.attrs.get("scale")
    numbers: tuple[float, ...] = attr.value if attr and attr.kind in ("float_vec", "double_vec", "int32_vec") else ()
    if len(numbers) != 2 or not all(1 / 64 <= factor <= 64 for factor in numbers):
        raise reader.unsupported(op, f"attribute scale is {list(numbers)}, expected two numbers from 1/64 to 64")
    return numbers[1], numbers[0]


def _upsample(reader: Reader, op: Op) -> tuple[Step, ...]:
    source, output = reader.picture(op), reader.output(op)
    mode, scale_hw = op.typed("mode", "string"), _scale(reader, op)
    if op.inputs.get("size"):
        raise reader.unsupported(op, "a size computed in the graph is not known to this software DPU")
    height, width = int(source.shape[1] * scale_hw[0]), int(source.shape[2] * scale_hw[1])
    if output.shape != (1, height, width, source.shape[3]):
        raise reader.contradicting(op, (1, height, width, source.shape[3]))
    check_extents(reader, op, source.shape)
    check_extents(reader, op, output.shape)
    reader.check_span(op, [source.fix_point, output.fix_point])
    corners, centers = op.typed("align_corners", "bool", False), op.typed("half_pixel_centers", "bool", False)
    if mode not in ("NEAREST", "BILINEAR"):
        raise reader.unsupported(op, f"mode {mode!r} is not known to this software DPU")
    what = (
        f"{mode} from {source.shape[1:3]} to {(height, width)}, align_corners {corners}, half_pixel_centers {centers}"
    )
    if mode == "NEAREST":
        rows, columns = (_nearest(source.shape[a], output.shape[a], corners, centers) for a in (1, 2))
        if rows is None or columns is None:
            raise reader.unsupported(op, f"{what}: the pixels taken would depend on how float32 rounds")
        return (Select(output, (source,), rows, columns),)
    upper, left = (_between(source.shape[a], output.shape[a], corners, centers) for a in (1, 2))
    if upper is None or left is None:
        raise reader.unsupported(
            op, f"{what}: its weights are not multiples of 2^-{_WEIGHT_BITS}, so no exact rule is public"
        )
    return (Bilinear(output, (source,), upper, left),)


def _downsample(reader: Reader, op: Op) -> tuple[Step, ...]:
    """Every scale-th pixel, by whole factors."""
    source, output = reader.picture(op), reader.output(op)
    mode, scale_hw = op.typed("mode", "string", "NEAREST"), _scale(reader, op)
    plain = mode == "NEAREST" and not op.value("align_corners", False) and not op.value("half_pixel_centers", False)
    if not plain or not all(factor >= 1 and factor == int(factor) for factor in scale_hw):
        raise reader.unsupported(op, "only nearest-neighbour sampling by whole factors is known to this software DPU")
    check_extents(reader, op, source.shape)
    reader.check_span(op, [source.fix_point, output.fix_point])
    rows, columns = (np.arange(0, source.shape[axis], int(scale_hw[axis - 1])) for axis in (1, 2))
    return (Select(output, (source,), rows, columns),)


READERS = {"upsample-fix": _upsample, "downsample-fix": _downsample}
