"""The outputs of a detector: what must be known of a head section to decode the convolution before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from board_app.core.bundle import HeadSpec
from board_app.core.errors import InputError
from compress.darknet.section import HEAD_TYPES, Cfg
from compress.darknet.shapes import head_anchors, layer_shapes


@dataclass(frozen=True)
class Head:
    """One output of the network.

    Attributes:
        layer: index of the head convolution among the cfg's layers.
        stride: input pixels per grid cell.
        anchors: (width, height) in network pixels.
        classes: class scores per anchor.
        scale_xy: how far a box centre may leave its cell: 1 not at all (`scale_x_y` of [yolo]).
        softmax: whether the class scores are one softmax, as in a [region], or a sigmoid each.
    """

    layer: int
    stride: int
    anchors: Tuple[Tuple[float, float], ...]
    classes: int
    scale_xy: float = 1.0
    softmax: bool = False

    def spec(self, output: str, fix_point: int = 0) -> HeadSpec:
        """The head as the board's decoder knows it, read from the tensor `output`."""
        return HeadSpec(output, self.stride, self.anchors, fix_point, self.scale_xy, self.softmax)


def heads_of(cfg: Cfg) -> Tuple[Head, ...]:
    """The outputs in cfg order.

    Raises:
        InputError: there are none.
    """
    shapes, heads = layer_shapes(cfg), []
    for index, section in enumerate(cfg.layers):
        if section.type not in HEAD_TYPES:
            continue
        stride, anchors = cfg.input_hw[0] // shapes[index][1], head_anchors(section)
        scale_xy, softmax = section.number("scale_x_y", 1.0), False
        if section.type == "region":
            anchors = tuple((width * stride, height * stride) for width, height in anchors)
            softmax = bool(section.integer("softmax", 0))
        heads.append(Head(index - 1, stride, anchors, section.integer("classes", 20), scale_xy, softmax))
    if not heads:
        raise InputError(f"{cfg.name}: expected a [yolo] or [region], found none. Name the cfg of a detector.")
    return tuple(heads)


def check_trainable(cfg: Cfg) -> None:
    """Refuse to train what has no loss here.

    Raises:
        InputError: a [region] head.
    """
    for section in cfg.layers:
        if section.type == "region":
            raise InputError(
                f"{cfg.name}, line {section.line}: expected [yolo] heads, which can be trained, found [region] "
                "(YOLOv2). Write a [yolo] in its place, anchors times the head's stride, and start from the same "
                "weights."
            )
