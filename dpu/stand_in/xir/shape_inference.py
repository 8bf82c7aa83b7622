"""What an operator gives: the shape and the data type of its output tensor, as XIR infers them.

Shapes are NHWC (NLC, NHWDC for one and three dimensions); windows are given width first. Shapes that a network computes
at run time (`shape` and what follows it) are not followed: a reshape or resize needs constants.
Source: Xilinx/Vitis-AI (Apache-2.0), src/vai_runtime/xir/src/xir/op/shape_inference.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .aborts import aborts
from .op_definitions import BUILT_IN
from .tensor import dtype_of

if TYPE_CHECKING:
    from dpu.errors import RunError

    from .op import Op

Shape = tuple  # of ints

_SPATIAL = {1: (1,), 2: (2, 1), 3: (2, 1, 3)}  # which axis each number of a window is for: width, height, depth


def infer(op: Op) -> tuple[Shape, str]:
    """Shape and dtype of an operator's output. Raises RunError where they contradict the inputs."""
    kind = op.get_type()
    shape = _RULES[kind](op) if kind in BUILT_IN else _shape_attribute(op)
    return tuple(int(extent) for extent in shape), _dtype(op)


def _dtype(op: Op) -> str:
    kind = op.get_type()
    if kind == "fix2float":
        return "float32"
    if kind == "float2fix":
        return f"{'xint' if op.get_attr('if_signed') else 'xuint'}{op.get_attr('bit_width')}"
    if kind == "cast" or kind not in BUILT_IN or not op.get_input_num("input"):
        return dtype_of(op.get_attr("data_type"))
    return op.get_input_tensor("input").dtype


def _wrong(op: Op, why: str, remedy: str = "Check its inputs and attributes.") -> RunError:
    return aborts(f"operator {op.get_name()!r} ({op.get_type()}): {why}", remedy)


def _input(op: Op, argument: str = "input", rank: int | None = None) -> list[int]:
    shape = op.get_input_tensor(argument).dims
    if rank is not None and len(shape) != rank:
        raise _wrong(op, f"expected {rank} dimensions in input {argument!r}, found {shape}")
    return shape


def _inputs(op: Op) -> list[list[int]]:
    return [tensor.dims for tensor in op.get_input_tensors_by_name("input")]


def _same(op: Op) -> list[int]:
    return _input(op)


def _shape_attribute(op: Op) -> list[int]:
    shape = op.get_attr("shape")
    if not shape or min(shape) <= 0:
        raise _wrong(op, f"expected a shape of positive numbers, found {shape}")
    return list(shape)


def _extent(op: Op, size: int, kernel: int, stride: int, dilation: int, pads: int) -> int:
    """Places of a window along one axis, by the attribute pad_mode (integer operators: FLOOR)."""
    mode = op.get_attr("pad_mode") if op.has_attr("pad_mode") else "FLOOR"
    last = size + pads - (kernel - 1) * dilation  # one more than where the last window begins
    room = {"FLOOR": last - 1 + stride, "CEIL": last + 2 * (stride - 1), "SAME": size + pads + stride - 1}
    room["VALID"] = last + stride - 1
    if mode not in room:
        raise _wrong(op, f"expected pad_mode FLOOR, CEIL, SAME or VALID, found {mode!r}")
    return room[mode] // stride


def _window(op: Op, extent: Callable[..., int], channels: int) -> list[int]:
    """The input's shape with each spatial axis replaced by `extent(op, size, kernel, stride, dilation, pads)`."""
    kernel, stride = op.get_attr("kernel"), op.get_attr("stride")
    dilation = op.get_attr("dilation") if op.has_attr("dilation") else [1] * len(kernel)
    pad = op.get_attr("pad") if op.has_attr("pad") else [0] * 2 * len(kernel)
    if min(stride) < 1:
        raise _wrong(op, f"expected strides of at least 1, found {stride}")
    shape = [*_input(op, rank=len(kernel) + 2)[:-1], channels]
    for i, axis in enumerate(_SPATIAL[len(kernel)]):
        shape[axis] = extent(op, shape[axis], kernel[i], stride[i], dilation[i], pad[2 * i] + pad[2 * i + 1])
    return shape


def _conv(op: Op) -> list[int]:
    dimensions = len(op.get_attr("kernel"))
    depth, weights = _input(op)[-1], _input(op, "weights", dimensions + 2)
    group = op.get_attr("group") if op.has_attr("group") else 1
    if group < 1 or depth % group or weights[0] % group or weights[-1] != depth // group:
        raise _wrong(op, f"weights {weights} do not fit an input of {depth} channels in {group} groups")
    return _window(op, _extent, weights[0])


def _depthwise(op: Op) -> list[int]:
    dimensions = len(op.get_attr("kernel"))
    weights = _input(op, "weights", dimensions + 2)
    return _window(op, _extent, weights[0] * weights[-1] if dimensions == 2 else weights[-1])


def _transposed_extent(op: Op, size: int, kernel: int, stride: int, dilation: int, pads: int) -> int:
    mode = op.get_attr("pad_mode") if op.has_attr("pad_mode") else "FLOOR"
    if mode in ("FLOOR", "CEIL"):
        return (size - 1) * stride + dilation * (kernel - 1) + 1 - pads
    if mode not in ("SAME", "VALID"):
        raise _wrong(op, f"expected pad_mode FLOOR, CEIL, SAME or VALID, found {mode!r}")
    return size * stride if mode == "SAME" else (size - 1) * stride + kernel


def _transposed(op: Op) -> list[int]:
    return _window(op, _transposed_extent, _input(op, "weights")[0])


def _transposed_depthwise(op: Op) -> list[int]:
    weights = _input(op, "weights")
    if len(op.get_attr("kernel")) == 3:
        return _window(op, _transposed_extent, weights[-1])
    fixed = op.get_type().endswith("-fix")
    return _window(op, _transposed_extent, weights[0] * weights[-1] if fixed else _input(op)[-1])


def _pool(op: Op) -> list[int]:
    whole = op.has_attr("global") and op.get_attr("global")
    extent: Callable[..., int] = (lambda *_: 1) if whole else _extent
    return _window(op, extent, _input(op)[-1])


def _joined(op: Op, one: list[int], other: list[int]) -> list[int]:
    """Two shapes broadcast, the trailing axes against each other."""
    if not one or not other:
        return one or other
    rank = max(len(one), len(other))
    pairs = zip([1] * (rank - len(one)) + one, [1] * (rank - len(other)) + other)  # noqa: B905 (Python 3.9)
    result = []
    for a, b in pairs:
        if a != b and 1 not in (a, b):
            raise _wrong(op, f"shapes {one} and {other} do not fit together")
        result.append(b if a == 1 else a)
    return result


def _broadcast(op: Op) -> list[int]:
    shapes = _inputs(op)
    result = shapes[0]
    for shape in shapes[1:]:
        result = _joined(op, result, shape)
    return result


def _eltwise(op: Op) -> list[int]:
    shapes = _inputs(op)
    fits = len(shapes) == 1 or _joined(op, shapes[0], shapes[1]) in shapes[:2]
    if not fits or (len(shapes) > 2 and any(shape != shapes[0] for shape in shapes)):
        raise _wrong(op, f"shapes {shapes} do not fit together")
    return shapes[0]


def _axis(op: Op, rank: int, axis: int | None = None) -> int:
    axis = op.get_attr("axis") if axis is None else axis
    if not -rank <= axis < rank:
        raise _wrong(op, f"there is no axis {axis} in {rank} dimensions")
    return axis % rank


def _concat(op: Op) -> list[int]:
    shapes = _inputs(op)
    axis = _axis(op, len(shapes[0]))
    others = [shape[:axis] + shape[axis + 1 :] for shape in shapes]
    if any(other != others[0] for other in others):
        raise _wrong(op, f"shapes {shapes} differ in more than axis {axis}")
    return [*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :]]


def _stack(op: Op) -> list[int]:
    shapes = _inputs(op)
    axis = _axis(op, len(shapes[0]) + 1)
    return [*shapes[0][:axis], len(shapes), *shapes[0][axis:]]


def _inner_product(op: Op) -> list[int]:
    shape, axis = _input(op), op.get_attr("axis")
    depth, weights = math.prod(shape[axis:]), math.prod(_input(op, "weights"))
    if weights % depth:
        raise _wrong(op, f"{weights} weights are no multiple of {depth} inputs")
    return [*shape[:axis], weights // depth]


def _matmul(op: Op) -> list[int]:
    shapes = _inputs(op)
    if len(shapes) != 2 or min(map(len, shapes)) < 2:
        raise _wrong(op, f"expected two inputs of at least two dimensions, found {shapes}")
    turned = (op.get_attr("transpose_a"), op.get_attr("transpose_b"))
    (rows, inner), (inner_b, columns) = (s[-2:][::-1] if turned[i] else s[-2:] for i, s in enumerate(shapes))
    bias = [tensor.dims for tensor in op.get_input_tensors_by_name("bias")]
    if inner != inner_b or bias not in ([], [[columns]]):
        raise _wrong(op, f"shapes {shapes} and bias {bias} do not fit together")
    return [*_joined(op, shapes[0][:-2], shapes[1][:-2]), rows, columns]


def _batchnorm(op: Op) -> list[int]:
    shape = _input(op)
    channels = shape[_axis(op, len(shape))]
    if [channels] != _input(op, "gamma")[:1] or [channels] != _input(op, "beta")[:1]:
        raise _wrong(op, f"gamma {_input(op, 'gamma')} and beta {_input(op, 'beta')} do not fit {channels} channels")
    return shape


def _argmax(op: Op) -> list[int]:
    shape = _input(op)
    shape[_axis(op, len(shape))] = 1
    return shape


def _reduction(op: Op) -> list[int]:
    shape = _input(op)
    axes = {_axis(op, len(shape), axis) for axis in op.get_attr("axis")}
    return [1 if i in axes else n for i, n in enumerate(shape) if i not in axes or op.get_attr("keep_dims")]


def _constant(op: Op, argument: str) -> list[int]:
    """The whole numbers that a constant input holds."""
    source = op.get_input_op(argument)
    if not source.has_attr("data"):
        raise _wrong(op, f"its {argument} is computed in the network", f"Give the {argument} as a constant.")
    letter = {"int": "i", "uint": "u", "float": "f"}.get(source.get_output_tensor().dtype.rstrip("0123456789"))
    bits = int(source.get_output_tensor().dtype.lstrip("abcdefghijklmnopqrstuvwxyz"))
    if letter is None:
        raise _wrong(op, f"its {argument} is of type {source.get_output_tensor().dtype}")
    return [int(value) for value in np.frombuffer(source.get_attr("data"), f"<{letter}{bits // 8}")]


def _reshape(op: Op) -> list[int]:
    shape = _input(op)
    wanted = _constant(op, "shape") if op.get_input_num("shape") else list(op.get_attr("shape"))
    result = [shape[i] if n == 0 and i < len(shape) else n for i, n in enumerate(wanted)]
    if op.get_type() == "reshape" and any(n < 0 for n in result):
        rest = math.prod(n for n in result if n > 0)
        result = [math.prod(shape) // rest if n < 0 else n for n in result]
    if math.prod(result) != math.prod(shape):
        raise _wrong(op, f"{shape} has {math.prod(shape)} elements, {wanted} has {math.prod(result)}")
    return result


def _flatten(op: Op) -> list[int]:
    shape = _input(op)
    first, last = (_axis(op, len(shape), op.get_attr(name)) for name in ("start_axis", "end_axis"))
    if first > last:
        raise _wrong(op, f"start_axis {first} lies behind end_axis {last}")
    return [*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]]


def _squeeze(op: Op) -> list[int]:
    shape = _input(op)
    axes = op.get_attr("axis") or [i for i, extent in enumerate(shape) if extent == 1]
    return [extent for i, extent in enumerate(shape) if i not in axes]


def _transpose(op: Op) -> list[int]:
    shape, order = _input(op), op.get_attr("order")
    return [shape[_axis(op, len(shape), axis)] for axis in order]


def _strided_slice(op: Op) -> list[int]:
    for mask in ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"):
        if op.has_attr(mask) and op.get_attr(mask):
            raise _wrong(op, f"{mask} is not known to this stand-in", "Write begin, end and strides in full.")
    shape, bounds = _input(op), [op.get_attr(name) for name in ("begin", "end", "strides")]
    if any(len(bound) != len(shape) for bound in bounds):
        raise _wrong(op, f"begin, end and strides {bounds} need one number for each of {len(shape)} axes")
    return [len(range(*slice(*(bound[i] for bound in bounds)).indices(n))) for i, n in enumerate(shape)]


def _pad(op: Op) -> list[int]:
    shape, pads = _input(op), op.get_attr("paddings")
    if len(pads) != 2 * len(shape):
        raise _wrong(op, f"expected two paddings for each of {len(shape)} axes, found {pads}")
    return [extent + pads[2 * i] + pads[2 * i + 1] for i, extent in enumerate(shape)]


def _resize(op: Op) -> list[int]:
    shape = _input(op)
    if op.get_input_num("size"):
        size = _constant(op, "size")
        return [shape[0], *size, shape[-1]] if len(size) == len(shape) - 2 else size
    scale = op.get_attr("scale")
    if len(scale) not in (2, 3) or len(scale) != len(shape) - 2 or min(scale) <= 0:
        raise _wrong(op, f"expected a positive scale for each of {len(shape) - 2} axes, width first, found {scale}")
    for axis, factor in zip(_SPATIAL[len(scale)], scale):  # noqa: B905 (Python 3.9)
        down = op.get_type() == "downsample-fix"
        shape[axis] = math.ceil(shape[axis] / factor) if down else int(np.float32(shape[axis]) * np.float32(factor))
    return shape


def _tiles(op: Op) -> list[int]:
    """Blocks of pixels to channels and back."""
    batch, height, width, channels = _input(op, rank=4)
    attribute, back = {"gstiling": ("stride", "reverse"), "tile-fix": ("stride", "reverse")}.get(
        op.get_type(), ("scale", "upscale" if op.get_type().startswith("pixel") else "reverse")
    )
    block = op.get_attr(attribute)
    if op.get_attr(back):
        return [batch, height * block, width * block, channels // (block * block)]
    return [batch, height // block, width // block, channels * block * block]


def _priorbox(op: Op) -> list[int]:
    _, height, width, _ = _input(op, rank=4)
    ratios = [1.0]
    for ratio in op.get_attr("aspect_ratio"):
        if all(abs(ratio - known) >= 1e-6 for known in ratios):
            ratios += [ratio, 1 / ratio] if op.get_attr("flip") else [ratio]
    boxes = len(ratios) * len(op.get_attr("min_sizes")) + len(op.get_attr("max_sizes"))
    return [1, 2, height * width * boxes * 4]


def _correlation(op: Op) -> list[int]:
    batch, height, width, channels = _input(op, rank=4)
    side = op.get_attr("pad_size")
    steps = side + 1 if "1d" in op.get_type() else (2 * side + 1) ** 2
    return [batch, height, width, steps, channels]


def _cost_volume(op: Op) -> list[int]:
    batch, height, width, channels = _input(op, rank=4)
    return [batch, height, width, op.get_attr("maxdisp") // 4, channels * 2]


def _rules() -> dict[str, Callable[[Op], list[Any]]]:
    by_name: dict[str, Callable[[Op], list[Any]]] = {
        "data const random_standard_normal": _shape_attribute,
        "conv1d conv2d conv3d": _conv,
        "depthwise-conv2d depthwise-conv3d": _depthwise,
        "transposed-conv2d transposed-conv3d": _transposed,
        "transposed-depthwise-conv2d transposed-depthwise-conv3d": _transposed_depthwise,
        "maxpool1d maxpool2d avgpool2d pool": _pool,
        "add sub mul div min max depthwise": _broadcast,
        "eltwise": _eltwise,
        "concat": _concat,
        "stack": _stack,
        "matmul": _matmul,
        "inner-product": _inner_product,
        "batchnorm": _batchnorm,
        "argmax": _argmax,
        "reduction_max reduction_mean reduction_product reduction_sum": _reduction,
        "reshape": _reshape,
        "flatten": _flatten,
        "squeeze": _squeeze,
        "transpose": _transpose,
        "strided_slice": _strided_slice,
        "pad": _pad,
        "resize upsample downsample": _resize,
        "reorg pixel-shuffle gstiling tile": _tiles,
        "priorbox": _priorbox,
        "correlation1d_elemwise correlation2d_elemwise": _correlation,
        "cost_volume": _cost_volume,
        "shape": lambda op: [len(_input(op))],
    }
    return {name: rule for names, rule in by_name.items() for name in names.split()}


_RULES = {kind: _rules().get(kind[:-4] if kind.endswith("-fix") else kind, _same) for kind in BUILT_IN}
