"""What an ONNX file says about itself: heads (in the metadata that our export writes), parameters, work."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from board_app.core.bundle import DetectorSpec, HeadSpec
from board_app.core.errors import InputError


@dataclass(frozen=True)
class OnnxDescription:
    """`spec` is None where the metadata has no anchors; `params` counts every constant of a convolution."""

    spec: DetectorSpec | None
    params: int
    gmacs: float


def read_onnx(path: Path, name: str) -> OnnxDescription:
    """Describe the file.

    Raises:
        InputError: no ONNX, or metadata that contradicts itself.
    """
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    except (DecodeError, onnx.shape_inference.InferenceError) as error:
        raise InputError(f"{path}: expected an ONNX network, found {error}. Export it: roadslim export") from None
    params, gmacs = _cost(model)
    try:
        return OnnxDescription(_spec(model, name), params, gmacs)
    except ValueError as error:
        raise InputError(
            f"{path}: expected the metadata of `roadslim export`, found {error}. Export it again"
        ) from None


def _spec(model: onnx.ModelProto, name: str) -> DetectorSpec | None:
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if not {"classes", "strides", "anchors"} <= metadata.keys():
        return None
    sides = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    strides = [int(stride) for stride in metadata["strides"].split(",")]
    anchors = [[float(side) for side in head.split(",")] for head in metadata["anchors"].split(";")]
    scales = [float(scale) for scale in metadata.get("scale_xy", ",".join("1" for _ in strides)).split(",")]
    softmaxes = [flag == "1" for flag in metadata.get("softmax", ",".join("0" for _ in strides)).split(",")]
    heads = tuple(
        HeadSpec(output.name, stride, tuple(zip(flat[::2], flat[1::2], strict=True)), 0, scale, softmax)
        for output, stride, flat, scale, softmax in zip(
            model.graph.output, strides, anchors, scales, softmaxes, strict=True
        )
    )
    classes = tuple(str(index) for index in range(int(metadata["classes"])))
    return DetectorSpec(name=name, classes=classes, input_hw=(sides[2], sides[3]), heads=heads)


def _cost(model: onnx.ModelProto) -> tuple[int, float]:
    shapes = {constant.name: tuple(constant.dims) for constant in model.graph.initializer}
    for value in (*model.graph.value_info, *model.graph.output):
        shapes[value.name] = tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
    params, macs = 0, 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            params += sum(prod(shapes.get(name, (0,))) for name in node.input[1:])
            macs += prod(shapes.get(node.output[0], (0,))) * prod(shapes.get(node.input[1], (0,))[1:])
    return params, macs / 1e9
