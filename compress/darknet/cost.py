"""What a network costs before it is run: parameters, multiply-accumulates, and its layers as the DPU has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.darknet.cfg import INPUT, Cfg, Section, layer_shapes, layer_sources
from compress.darknet.shapes import Shape

if TYPE_CHECKING:
    from dpu.latency import Layer


def parameter_count(cfg: Cfg) -> int:
    """Trained numbers: convolution weights, gammas, betas and biases; running statistics do not count."""
    shapes, total = layer_shapes(cfg), 0
    for index, (in_channels, section) in enumerate(zip(_in_channels(cfg, shapes), cfg.layers, strict=True)):
        if section.type == "convolutional":
            filters = shapes[index][0]
            normalised = bool(section.integer("batch_normalize", 0))
            total += filters * (_taps(section, in_channels) + (2 if normalised else 1))
    return total


def gmacs(cfg: Cfg) -> float:
    """Multiply-accumulates of the convolutions for one image, in units of 1e9."""
    shapes, total = layer_shapes(cfg), 0
    for index, (in_channels, section) in enumerate(zip(_in_channels(cfg, shapes), cfg.layers, strict=True)):
        if section.type == "convolutional":
            filters, height, width = shapes[index]
            total += filters * height * width * _taps(section, in_channels)
    return total / 1e9


def dpu_layers(cfg: Cfg) -> list[Layer]:
    """The layers that take time on the DPU, for `dpu.latency.predict`; batch normalisation is folded.

    What runs on the processor is not among them: the heads' decoding, and what `dpu_hindrances` names.
    """
    from dpu.latency import Layer

    shapes = layer_shapes(cfg)
    at_input: Shape = (cfg.input_channels, *cfg.input_hw)
    layers = []
    for index, (section, sources) in enumerate(zip(cfg.layers, layer_sources(cfg), strict=True)):
        inputs = [_hwc(at_input if source == INPUT else shapes[source]) for source in sources]
        name, output = f"{section.type}_{index}", _hwc(shapes[index])
        if section.type == "convolutional":
            size, groups = section.integer("size", 1), section.integer("groups", 1)
            layers.append(Layer(name, "conv", inputs[0], output, (size, size), section.integer("stride", 1), groups))
        elif section.type == "maxpool":
            stride = section.integer("stride", 1)
            size = section.integer("size", stride)
            layers.append(Layer(name, "pool", inputs[0], output, (size, size), stride))
        elif section.type == "upsample":
            layers.append(Layer(name, "upsample", inputs[0], output, stride=section.integer("stride", 2)))
        elif section.type == "shortcut":
            layers.append(Layer(name, "add", inputs[0], output))
        elif section.type == "route":
            groups = section.integer("groups", 1)
            parts = [(height, width, channels // groups) for height, width, channels in inputs]
            if groups > 1:
                of_part = name if len(parts) == 1 else f"{name}_slice"
                layers += [Layer(of_part, "slice", whole, part) for whole, part in zip(inputs, parts)]
            if len(parts) > 1:
                layers.append(Layer(name, "concat", output, output))
    return layers


def _hwc(shape: Shape) -> tuple[int, int, int]:
    channels, height, width = shape
    return height, width, channels


def _taps(section: Section, in_channels: int) -> int:
    """Weights of one output channel."""
    return in_channels // section.integer("groups", 1) * section.integer("size", 1) ** 2


def _in_channels(cfg: Cfg, shapes: list[Shape]) -> list[int]:
    """Channels of every layer's first input."""
    return [cfg.input_channels if first == INPUT else shapes[first][0] for first, *_ in layer_sources(cfg)]
