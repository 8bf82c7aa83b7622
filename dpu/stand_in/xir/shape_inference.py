"""What an operator gives: the shape and the data type of its output tensor, as XIR infers them.

Shapes are NHWC (NLC, NHWDC for one and three dimensions); windows are given width first. Shapes that a network computes
at run time (`shape` and what follows it) are not followed: a reshape or resize needs constants.
Source: Xilinx/Vitis-AI (Apache-2.0), src/vai_runtime/xir/src/xir/op/shape_inference.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import rearranging, windows
from .op_definitions import BUILT_IN
from .op_shapes import axis_of, input_shape, wrong
from .tensor import dtype_of

if TYPE_CHECKING:
    from .op import Op

Shape = tuple  # of ints


def infer(op: Op) -> tuple[Shape, str]:
    """Shape and dtype of an operator's output. Raises RunError where they contradict the inputs."""
    kind = op.get_type()
    try:
        shape = _RULES[kind](op) if kind in BUILT_IN else _shape_attribute(op)
    except (ArithmeticError, IndexError, ValueError) as error:  # a block of 0, a scale of NaN, axes that are not there
        raise wrong(op, f"no shape follows from its inputs and attributes ({error})") from error
    if min(shape, default=0) < 0:  # the real one lets -1 pass, for "not known yet"
        raise wrong(op, f"it would give {[int(extent) for extent in shape]}")
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


def _inputs(op: Op) -> list[list[int]]:
    return [tensor.dims for tensor in op.get_input_tensors_by_name("input")]


def _same(op: Op) -> list[int]:
    return input_shape(op)


def _shape_attribute(op: Op) -> list[int]:
    shape = op.get_attr("shape")
    if not shape or min(shape) <= 0:
        raise wrong(op, f"expected a shape of positive numbers, found {shape}")
    return list(shape)


def _joined(op: Op, one: list[int], other: list[int]) -> list[int]:
    """Two shapes broadcast, the trailing axes against each other."""
    if not one or not other:
        return one or other
    rank = max(len(one), len(other))
    pairs = zip([1] * (rank - len(one)) + one, [1] * (rank - len(other)) + other)  # noqa: B905 (Python 3.9)
    result = []
    for a, b in pairs:
        if a != b and 1 not in (a, b):
            raise wrong(op, f"shapes {one} and {other} do not fit together")
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
        raise wrong(op, f"shapes {shapes} do not fit together")
    return shapes[0]


def _concat(op: Op) -> list[int]:
    shapes = _inputs(op)
    axis = axis_of(op, len(shapes[0]))
    others = [shape[:axis] + shape[axis + 1 :] for shape in shapes]
    if any(other != others[0] for other in others):
        raise wrong(op, f"shapes {shapes} differ in more than axis {axis}")
    return [*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :]]


def _stack(op: Op) -> list[int]:
    shapes = _inputs(op)
    axis = axis_of(op, len(shapes[0]) + 1)
    return [*shapes[0][:axis], len(shapes), *shapes[0][axis:]]


def _inner_product(op: Op) -> list[int]:
    shape, axis = input_shape(op), op.get_attr("axis")
    depth, weights = math.prod(shape[axis:]), math.prod(input_shape(op, "weights"))
    if weights % depth:
        raise wrong(op, f"{weights} weights are no multiple of {depth} inputs")
    return [*shape[:axis], weights // depth]


def _matmul(op: Op) -> list[int]:
    shapes = _inputs(op)
    if len(shapes) != 2 or min(map(len, shapes)) < 2:
        raise wrong(op, f"expected two inputs of at least two dimensions, found {shapes}")
    turned = (op.get_attr("transpose_a"), op.get_attr("transpose_b"))
    (rows, inner), (inner_b, columns) = (s[-2:][::-1] if turned[i] else s[-2:] for i, s in enumerate(shapes))
    bias = [tensor.dims for tensor in op.get_input_tensors_by_name("bias")]
    if inner != inner_b or bias not in ([], [[columns]]):
        raise wrong(op, f"shapes {shapes} and bias {bias} do not fit together")
    return [*_joined(op, shapes[0][:-2], shapes[1][:-2]), rows, columns]


def _batchnorm(op: Op) -> list[int]:
    shape = input_shape(op)
    channels = shape[axis_of(op, len(shape))]
    if [channels] != input_shape(op, "gamma")[:1] or [channels] != input_shape(op, "beta")[:1]:
        raise wrong(
            op, f"gamma {input_shape(op, 'gamma')} and beta {input_shape(op, 'beta')} do not fit {channels} channels"
        )
    return shape


def _argmax(op: Op) -> list[int]:
    shape = input_shape(op)
    shape[axis_of(op, len(shape))] = 1
    return shape


def _reduction(op: Op) -> list[int]:
    shape = input_shape(op)
    axes = {axis_of(op, len(shape), axis) for axis in op.get_attr("axis")}
    return [1 if i in axes else n for i, n in enumerate(shape) if i not in axes or op.get_attr("keep_dims")]


def _priorbox(op: Op) -> list[int]:
    _, height, width, _ = input_shape(op, rank=4)
    ratios = [1.0]
    for ratio in op.get_attr("aspect_ratio"):
        if all(abs(ratio - known) >= 1e-6 for known in ratios):
            ratios += [ratio, 1 / ratio] if op.get_attr("flip") else [ratio]
    boxes = len(ratios) * len(op.get_attr("min_sizes")) + len(op.get_attr("max_sizes"))
    return [1, 2, height * width * boxes * 4]


def _correlation(op: Op) -> list[int]:
    batch, height, width, channels = input_shape(op, rank=4)
    side = op.get_attr("pad_size")
    steps = side + 1 if "1d" in op.get_type() else (2 * side + 1) ** 2
    return [batch, height, width, steps, channels]


def _cost_volume(op: Op) -> list[int]:
    batch, height, width, channels = input_shape(op, rank=4)
    return [batch, height, width, op.get_attr("maxdisp") // 4, channels * 2]


def _rules() -> dict[str, Callable[[Op], list[Any]]]:
    by_name: dict[str, Callable[[Op], list[Any]]] = {
        "data const random_standard_normal": _shape_attribute,
        "conv1d conv2d conv3d": windows.conv,
        "depthwise-conv2d depthwise-conv3d": windows.depthwise,
        "transposed-conv2d transposed-conv3d": windows.transposed,
        "transposed-depthwise-conv2d transposed-depthwise-conv3d": windows.transposed_depthwise,
        "maxpool1d maxpool2d avgpool2d pool": windows.pool,
        "add sub mul div min max depthwise": _broadcast,
        "eltwise": _eltwise,
        "concat": _concat,
        "stack": _stack,
        "matmul": _matmul,
        "inner-product": _inner_product,
        "batchnorm": _batchnorm,
        "argmax": _argmax,
        "reduction_max reduction_mean reduction_product reduction_sum": _reduction,
        "reshape": rearranging.reshape,
        "flatten": rearranging.flatten,
        "squeeze": rearranging.squeeze,
        "transpose": rearranging.transpose,
        "strided_slice": rearranging.strided_slice,
        "pad": rearranging.pad,
        "resize upsample downsample": rearranging.resize,
        "reorg pixel-shuffle gstiling tile": rearranging.tiles,
        "priorbox": _priorbox,
        "correlation1d_elemwise correlation2d_elemwise": _correlation,
        "cost_volume": _cost_volume,
        "shape": lambda op: [len(input_shape(op))],
    }
    return {name: rule for names, rule in by_name.items() for name in names.split()}


_RULES = {kind: _rules().get(kind[:-4] if kind.endswith("-fix") else kind, _same) for kind in BUILT_IN}
