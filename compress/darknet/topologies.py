"""The networks that we build ourselves, as cfgs: YOLOv3 at any width, and YOLOv3-tiny.

Source: Redmon & Farhadi, YOLOv3, arXiv:1804.02767, and its yolov3.cfg and yolov3-tiny.cfg.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from board_app.core.errors import InputError
from compress.darknet.cfg import INPUT, Cfg, Section, cfg_text, layer_shapes, layer_sources, parse_cfg
from compress.darknet.section import DARKNET_LEAKY_SLOPE, HEAD_TYPES

Anchors = Sequence[tuple[float, float]]
YOLOV3_ANCHORS = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
YOLOV3_TINY_ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))
STAGE_BLOCKS = (1, 2, 8, 8, 4)  # residual blocks of Darknet-53 between two halvings
WIDTH_STEP = 8  # reduced widths are multiples of this, and at least this


def yolov3_cfg(
    classes: int,
    input_hw: tuple[int, int],
    width: float = 1.0,
    leaky_slope: float = DARKNET_LEAKY_SLOPE,
    anchors: Anchors | None = None,
) -> Cfg:
    """YOLOv3 in full depth: 75 convolutions, 23 shortcuts, 3 heads at strides 32, 16 and 8.

    Args:
        classes: at least one.
        input_hw: height and width in pixels, multiples of 32.
        width: factor on every layer's channels; reduced widths are rounded to multiples of 8.
        leaky_slope: LeakyReLU's below zero; the DPU's is 26/256.
        anchors: nine (width, height) in network pixels, small ones first; None takes the original's.
    """
    layers = _Layers()
    layers.convolution(32, 3)
    for stage, blocks in enumerate(STAGE_BLOCKS):
        channels = 64 << stage
        layers.convolution(channels, 3, stride=2)
        for _ in range(blocks):
            layers.convolution(channels // 2, 1)
            layers.convolution(channels, 3)
            layers.add("shortcut", {"from": -3, "activation": "linear"})
    sizes = _nine(anchors)
    for head, (channels, skip) in enumerate(((512, None), (256, 61), (128, 36))):
        if skip is not None:
            layers.add("route", {"layers": -4})
            layers.convolution(channels, 1)
            layers.add("upsample", {"stride": 2})
            layers.add("route", {"layers": f"-1,{skip}"})
        for _ in range(3):
            layers.convolution(channels, 1)
            layers.convolution(2 * channels, 3)
        layers.head(classes, sizes, range(6 - 3 * head, 9 - 3 * head))
    name = "yolov3" if width == 1 else f"yolov3-x{width:g}"
    return with_width(_checked(layers, input_hw, leaky_slope, name), width)


def yolov3_tiny_cfg(
    classes: int,
    input_hw: tuple[int, int],
    width: float = 1.0,
    leaky_slope: float = DARKNET_LEAKY_SLOPE,
    anchors: Anchors | None = None,
) -> Cfg:
    """YOLOv3-tiny: 13 convolutions, 6 maxpools, 2 heads at strides 32 and 16; arguments as for `yolov3_cfg`."""
    layers = _Layers()
    for channels in (16, 32, 64, 128, 256):
        layers.convolution(channels, 3)
        layers.add("maxpool", {"size": 2, "stride": 2})
    layers.convolution(512, 3)
    layers.add("maxpool", {"size": 2, "stride": 1})
    layers.convolution(1024, 3)
    layers.convolution(256, 1)
    layers.convolution(512, 3)
    sizes = YOLOV3_TINY_ANCHORS if anchors is None else anchors
    layers.head(classes, sizes, range(3, 6))
    layers.add("route", {"layers": -4})
    layers.convolution(128, 1)
    layers.add("upsample", {"stride": 2})
    layers.add("route", {"layers": "-1,8"})
    layers.convolution(256, 3)
    layers.head(classes, sizes, range(3))
    name = "yolov3-tiny" if width == 1 else f"yolov3-tiny-x{width:g}"
    return with_width(_checked(layers, input_hw, leaky_slope, name), width)


def with_width(cfg: Cfg, width: float) -> Cfg:
    """The same network with a factor on the filters of every convolution but the heads', in multiples of 8.

    A depthwise convolution stays one. 1 gives the cfg as it is.

    Raises:
        InputError: groups do not divide the new widths.
    """
    if width == 1:
        return cfg
    layers, shapes, sources = list(cfg.layers), layer_shapes(cfg), layer_sources(cfg)
    heads = {index - 1 for index, section in enumerate(cfg.layers) if section.type in HEAD_TYPES}
    for index, section in enumerate(cfg.layers):
        if section.type != "convolutional" or index in heads:
            continue
        filters = max(WIDTH_STEP, round(section.integer("filters") * width / WIDTH_STEP) * WIDTH_STEP)
        layers[index] = section.with_options(filters=filters)
        groups = section.integer("groups", 1)
        if groups > 1 and sources[index][0] != INPUT and groups == shapes[sources[index][0]][0]:
            so_far = layer_shapes(replace(cfg, layers=tuple(layers[:index])))
            layers[index] = layers[index].with_options(groups=so_far[sources[index][0]][0])
    return _reparsed(replace(cfg, layers=tuple(layers)))


def with_classes(cfg: Cfg, classes: int) -> Cfg:
    """The same network for another number of classes: every head section and the convolution before it."""
    layers = list(cfg.layers)
    for index, section in enumerate(cfg.layers):
        if section.type in HEAD_TYPES:
            anchors = cfg.layers[index - 1].integer("filters") // (5 + section.integer("classes", 20))
            layers[index] = section.with_options(classes=classes)
            layers[index - 1] = layers[index - 1].with_options(filters=anchors * (5 + classes))
    return _reparsed(replace(cfg, layers=tuple(layers)))


def with_anchors(cfg: Cfg, anchors: Anchors) -> Cfg:
    """The same network with other [yolo] anchors: (width, height) in network pixels, as many as it has, in order."""
    text = _anchor_text(anchors)
    layers = list(cfg.layers)
    for index, section in enumerate(cfg.layers):
        if section.type == "yolo":
            if section.integer("num", 1) != len(anchors):
                raise InputError(
                    f"{cfg.name}: expected {section.integer('num', 1)} anchors, found {len(anchors)}. "
                    "Fit as many as the cfg has."
                )
            layers[index] = section.with_options(anchors=text)
    return _reparsed(replace(cfg, layers=tuple(layers)))


class _Layers:
    """Sections in the making."""

    def __init__(self) -> None:
        self.sections: list[Section] = []

    def add(self, kind: str, options: dict[str, object]) -> None:
        self.sections.append(Section(kind, {key: str(value) for key, value in options.items()}))

    def convolution(self, filters: int, size: int, stride: int = 1) -> None:
        self.add(
            "convolutional",
            {"batch_normalize": 1, "filters": filters, "size": size, "stride": stride, "pad": 1, "activation": "leaky"},
        )

    def head(self, classes: int, anchors: Anchors, mask: range) -> None:
        filters = len(mask) * (5 + classes)
        self.add("convolutional", {"size": 1, "stride": 1, "pad": 1, "filters": filters, "activation": "linear"})
        self.add(
            "yolo",
            {
                "mask": ",".join(map(str, mask)),
                "anchors": _anchor_text(anchors),
                "classes": classes,
                "num": len(anchors),
            },
        )


def _nine(anchors: Anchors | None) -> Anchors:
    return YOLOV3_ANCHORS if anchors is None else anchors


def _anchor_text(anchors: Anchors) -> str:
    return ",".join(f"{length:g}" for anchor in anchors for length in anchor)


def _checked(layers: _Layers, input_hw: tuple[int, int], leaky_slope: float, name: str) -> Cfg:
    options = {"width": str(input_hw[1]), "height": str(input_hw[0]), "channels": "3"}
    if leaky_slope != DARKNET_LEAKY_SLOPE:
        options["leaky_slope"] = repr(float(leaky_slope))
    return _reparsed(Cfg(Section("net", options), tuple(layers.sections), name))


def _reparsed(cfg: Cfg) -> Cfg:
    """The same cfg, checked; sections keep the lines of their file, new ones get those that they have when written."""
    written = parse_cfg(cfg_text(cfg), cfg.name)
    layers = [replace(new, line=old.line or new.line) for new, old in zip(written.layers, cfg.layers)]
    return replace(written, layers=tuple(layers))
