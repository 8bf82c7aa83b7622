"""What operators over windows of a picture become: convolutions, pools, means, enlargements."""

from __future__ import annotations

import numpy as np

from dpu.graph import Attr
from dpu.lowering.form import Form, FormOrReason, Maker, fixed_constant, kept
from dpu.lowering.groups import CONVOLUTIONS, Group, Grouped
from dpu.operators.pooling import average_factors
from dpu.operators.resizing import is_exact

_WINDOW = ("kernel", "stride", "dilation", "pad", "pad_mode", "group", "in_dim", "out_dim", "bias_term")


def _convolution(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    op, groups = group.op, group.op.typed("group", "int32", 1)
    constants = {name: made for name in ("weights", "bias") if (made := fixed_constant(graph, op, name)) is not None}
    if op.typed("pad_mode", "string", "FLOOR") not in ("FLOOR", "VALID"):  # VALID: pads are 0; the shape tells
        return f"pad_mode {op.value('pad_mode')!r}"
    if groups > 1 and "weights" in constants and constants["weights"].output.shape[-1] * groups == shapes[0][-1]:
        return f"{groups} groups; the DPU has only 1"
    attrs = {**kept(op, *_WINDOW), "nonlinear": Attr("string", group.activation)}
    return Form(f"{op.type}-fix", attrs, constants)


def _pool(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    if len(shapes) != 1 or len(shapes[0]) != 4:
        return f"its input is {[list(shape) for shape in shapes]}, expected one [N, H, W, C]"
    op, (_, height, width, _) = group.op, shapes[0]
    attrs = kept(op, "kernel", "stride", "pad")
    sizes = [op.typed(key, "int32_vec", ()) for key in ("kernel", "stride")]
    pad = op.typed("pad", "int32_vec", (0, 0, 0, 0))
    if op.typed("global", "bool", False):
        attrs = {
            "kernel": Attr("int32_vec", (width, height)),
            "stride": Attr("int32_vec", (width, height)),
            "pad": Attr("int32_vec", (0, 0, 0, 0)),
        }
    elif any(len(size) != 2 or not all(1 <= number <= 256 for number in size) for size in sizes) or len(pad) != 4:
        return f"a window of size {sizes[0]}, stride {sizes[1]}, padding {pad}"
    elif op.typed("pad_mode", "string", "FLOOR") == "CEIL" and op.type == "maxpool2d":
        attrs["pad"] = Attr("int32_vec", _ceil_pad(attrs, (width, height), group.shape[2:0:-1], pad))
    elif op.typed("pad_mode", "string", "FLOOR") != "FLOOR":
        return f"pad_mode {op.value('pad_mode')!r}"
    if op.type == "maxpool2d":
        return Form("pool-fix", {**attrs, "type": Attr("string", "MAX")})
    if any(pad) and not op.typed("count_include_pad", "bool", True):
        return "a mean that leaves the padding out"
    kernel_w, kernel_h = attrs["kernel"].value
    return _mean(group, attrs, (kernel_h, kernel_w))


def _ceil_pad(
    attrs: dict[str, Attr], size_wh: tuple[int, ...], out_wh: tuple[int, ...], pad: tuple[int, ...]
) -> tuple[int, ...]:
    """{left, right, top, bottom} with as much more right and bottom as the output needs: a DPU only rounds down.

    The output tells, because torch leaves out a last window that would lie wholly in the padding.
    """
    grown = list(pad)
    for axis in (0, 1):
        kernel, stride = attrs["kernel"].value[axis], attrs["stride"].value[axis]
        needed = (out_wh[axis] - 1) * stride + kernel - size_wh[axis] - pad[2 * axis]
        grown[2 * axis + 1] = max(pad[2 * axis + 1], needed)
    return tuple(grown)


def _mean(
    group: Group, attrs: dict[str, Attr], kernel_hw: tuple[int, int], picture: tuple[int, ...] | None = None
) -> FormOrReason:
    asked = (1.0 if group.factor is None else group.factor) / (kernel_hw[0] * kernel_hw[1])
    factor, shift = average_factors(kernel_hw)
    if not np.isclose(asked, factor / 2**shift, rtol=1e-6, atol=0.0):
        return f"a mean with the factor {asked}; the DPU has {factor} / 2^{shift} for this window"
    return Form("pool-fix", {**attrs, "type": Attr("string", "AVG")}, picture=picture)


def _reduction(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    op, shape = group.op, shapes[0]
    axes = {axis % len(shape) for axis in op.typed("axis", "int32_vec", ())}
    if len(shape) != 4 or not axes or not axes <= {1, 2}:
        return f"a reduction over axes {sorted(axes)} of {list(shape)}"
    kernel_hw = (shape[1] if 1 in axes else 1, shape[2] if 2 in axes else 1)
    attrs = {
        "kernel": Attr("int32_vec", kernel_hw[::-1]),
        "stride": Attr("int32_vec", (1, 1)),
        "pad": Attr("int32_vec", (0, 0, 0, 0)),
    }
    kept = (1, shape[1] // kernel_hw[0], shape[2] // kernel_hw[1], shape[3])
    picture = None if op.typed("keep_dims", "bool", False) else kept
    if op.type == "reduction_max":
        return Form("pool-fix", {**attrs, "type": Attr("string", "MAX")}, picture=picture)
    return _mean(group, attrs, kernel_hw, picture)


def _resize(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    op = group.op
    if len(shapes[0]) != 4 or len(group.shape) != 4 or len(group.inputs) != 1 or 0 in shapes[0]:
        return "a size computed in the graph, or a tensor that is not [1, H, W, C]"
    (_, height, width, _), (_, out_height, out_width, _) = shapes[0], group.shape
    mode, what = op.typed("mode", "string"), f"from {height} x {width} to {out_height} x {out_width}"
    if out_height < height or out_width < width or mode not in ("NEAREST", "BILINEAR"):
        return f"mode {mode!r} {what}"
    if not is_exact(mode, op, (height, width), (out_height, out_width)):
        return f"mode {mode!r} {what}: no exact rule is public for its weights"
    attrs = kept(op, "mode", "align_corners", "half_pixel_centers")
    scale = Attr("float_vec", (out_width / width, out_height / height))
    return Form("upsample-fix", {"scale": scale, **attrs})


WINDOW_MAKERS: dict[str, Maker] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(("maxpool2d", "avgpool2d"), _pool),
    **dict.fromkeys(("reduction_max", "reduction_mean"), _reduction),
    "resize": _resize,
}
