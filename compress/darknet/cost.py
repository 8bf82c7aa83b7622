"""What a network costs before it is run: parameters, multiply-accumulates, and its layers as the DPU has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.darknet.cfg import INPUT, Cfg, layer_shapes, layer_sources
from compress.darknet.shapes import Shape

if TYPE_CHECKING:
    from dpu.latency import Layer

_DPU_KINDS = {"convolutional": "conv", "maxpool": "pool", "shortcut": "add", "route": "concat", "upsample": "upsample"}


def parameter_count(cfg: Cfg) -> int:
    """Trained numbers: convolution weights, gammas, betas and biases; running statistics do not count."""
    shapes, total = layer_shapes(cfg), 0
    for index, (in_channels, section) in enumerate(zip(_in_channels(cfg, shapes), cfg.layers, strict=True)):
        if section.type == "convolutional":
            filters = shapes[index][0]
            normalised = bool(section.integer("batch_normalize", 0))
            total += filters * (in_channels * section.integer("size", 1) ** 2 + (2 if normalised else 1))
    return total


def gmacs(cfg: Cfg) -> float:
    """Multiply-accumulates of the convolutions for one image, in units of 1e9."""
    shapes, total = layer_shapes(cfg), 0
    for index, (in_channels, section) in enumerate(zip(_in_channels(cfg, shapes), cfg.layers, strict=True)):
        if section.type == "convolutional":
            filters, height, width = shapes[index]
            total += filters * height * width * in_channels * section.integer("size", 1) ** 2
    return total / 1e9


def dpu_layers(cfg: Cfg) -> list[Layer]:
    """The layers that take time on the DPU, for `dpu.latency.predict`; batch normalisation is folded."""
    from dpu.latency import Layer

    shapes = layer_shapes(cfg)
    at_input: Shape = (cfg.input_channels, *cfg.input_hw)
    layers = []
    for index, (section, sources) in enumerate(zip(cfg.layers, layer_sources(cfg), strict=True)):
        one_route = section.type == "route" and len(sources) == 1
        if section.type == "yolo" or one_route:
            continue
        channels, height, width = at_input if sources[0] == INPUT else shapes[sources[0]]
        if section.type == "route":
            channels = shapes[index][0]
        size = section.integer("size", section.integer("stride", 1)) if section.type == "maxpool" else 1
        if section.type == "convolutional":
            size = section.integer("size", 1)
        layers.append(
            Layer(
                name=f"{section.type}_{index}",
                kind=_DPU_KINDS[section.type],
                in_hwc=(height, width, channels),
                out_hwc=(shapes[index][1], shapes[index][2], shapes[index][0]),
                kernel_hw=(size, size),
                stride=section.integer("stride", 2 if section.type == "upsample" else 1),
                groups=1,
            )
        )
    return layers


def _in_channels(cfg: Cfg, shapes: list[Shape]) -> list[int]:
    """Channels of every layer's first input."""
    return [cfg.input_channels if first == INPUT else shapes[first][0] for first, *_ in layer_sources(cfg)]
