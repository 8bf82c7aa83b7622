"""What of a network the DPU lacks, told before anyone trains it.

Sources: `dpu.operator_limits` (kernels, strides, channels, groups of a DPUCZDX8G), AMD's UG1414, "Currently Supported
Operators" (activations), and vai_q_pytorch's own replacement of the leaky slope.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from compress.darknet.cfg import INPUT, Cfg, layer_shapes, layer_sources
from compress.darknet.section import Section
from compress.darknet.shapes import Shape, activation_of, convolution_padding, maxpool_padding
from dpu import architecture
from dpu.arithmetic import LEAKY_SLOPE
from dpu.graph import Attr, Graph, Op, Tensor
from dpu.operator_limits import Target, limits_exceeded

log = logging.getLogger(__name__)
_ON_DPU = ("linear", "leaky", "relu")
_BOARD = "zcu104"


@dataclass(frozen=True)
class Hindrance:
    """One thing that keeps a layer from running on the DPU as it was trained.

    Attributes:
        layer: its index in the cfg, from 0.
        line: of its section in the file.
        section: its type.
        lacks: what stands against it, said after "the DPU".
        instead: what to use, an imperative.
        quantises: whether it goes into int8 all the same, and only differs or is left to the compiler.
    """

    layer: int
    line: int
    section: str
    lacks: str
    instead: str
    quantises: bool = False

    @property
    def kind(self) -> str:
        """All of it but the line."""
        return f"[{self.section}]: the DPU {self.lacks}. {self.instead}"


def dpu_hindrances(cfg: Cfg) -> list[Hindrance]:
    """Everything in the cfg that the DPU of a ZCU104 lacks, in cfg order; none for a network that it runs whole.

    The decoding of heads, sigmoids and a region's softmax, is none: it runs on the processor for every network.
    """
    beyond: dict[int, list[str]] = {}
    for op, why in limits_exceeded(*_graph(cfg), Target(architecture.board(_BOARD).architecture)):
        beyond.setdefault(int(op.name), []).append(why)
    found, slope_told = [], False
    for layer, (section, sources) in enumerate(zip(cfg.layers, layer_sources(cfg))):
        for lacks, instead in _missing(section, len(sources)):
            found.append(Hindrance(layer, section.line, section.type, lacks, instead))
        if section.type == "convolutional" and activation_of(section) == "leaky" and cfg.leaky_slope != LEAKY_SLOPE:
            if not slope_told:  # once for the network, as it is one number in [net]
                found.append(_slope(cfg, layer))
            slope_told = True
        for why in beyond.get(layer, []):
            limit = f"cannot run it as it is: it {why}"
            found.append(Hindrance(layer, section.line, section.type, limit, "Change its sizes", quantises=True))
    return found


def told(hindrances: Iterable[Hindrance]) -> list[str]:
    """A text for each kind, with all its lines."""
    lines: dict[str, list[str]] = {}
    for hindrance in hindrances:
        lines.setdefault(hindrance.kind, []).append(str(hindrance.line))
    return [f"line{'s' * (len(at) > 1)} {', '.join(at)}, {kind}" for kind, at in lines.items()]


def warn_of_hindrances(cfg: Cfg) -> None:
    """Log them, one kind a line, before work goes into a network that the DPU will not run like this."""
    for text in told(dpu_hindrances(cfg)):
        log.warning("%s, %s.", cfg.name, text)


def _missing(section: Section, inputs: int) -> Iterator[tuple[str, str]]:
    """What has no int8 form, and what to use instead."""
    if section.type == "convolutional":
        name = activation_of(section)
        if name == "relu6":
            yield "has relu6, but AMD's quantiser makes relu of it", "Train with activation=relu"
        elif name not in _ON_DPU:
            yield f"has no {name}", "Train with activation=leaky (or relu)"
        if section.integer("groups", 1) > 1:
            yield f"has no convolution in {section.integer('groups')} groups", "Train without groups"
    elif section.type == "shortcut" and activation_of(section) != "linear":
        yield (
            f"is not known to round a sum before its {activation_of(section)} as AMD's quantiser does",
            "Train with activation=linear",
        )
    elif section.type == "reorg":
        yield (
            "cannot move pixels into channels in Darknet's order",
            "Train with a maxpool of size 2 and stride 2, or a convolution of stride 2, in its place",
        )
    elif section.type == "upsample" and section.number("scale", 1.0) != 1:
        yield f"does not multiply while it upsamples (scale={section.options['scale']})", "Leave 'scale' out"
    elif section.type == "route" and section.integer("groups", 1) > 1 and inputs > 1:
        yield (
            "takes a part of one layer at a time",
            "Write a [route] with groups for each layer, and one that joins them",
        )


def _slope(cfg: Cfg, layer: int) -> Hindrance:
    lacks = f"has only the leaky slope 26/256 = {LEAKY_SLOPE}, to which {cfg.leaky_slope:g} is changed"
    instead = f"Write leaky_slope={LEAKY_SLOPE} into [net] and train with it"
    return Hindrance(layer, cfg.layers[layer].line, "convolutional", lacks, instead, quantises=True)


def _graph(cfg: Cfg) -> tuple[Graph, set[str]]:
    """The layers whose sizes have limits as operators that are named by their index, and these names."""
    shapes, at_input = layer_shapes(cfg), (cfg.input_channels, *cfg.input_hw)
    ops, names = [_op("input", "data-fix", {}, [], at_input)], set()
    for layer, (section, sources) in enumerate(zip(cfg.layers, layer_sources(cfg))):
        in_shape = at_input if sources[0] == INPUT else shapes[sources[0]]
        attrs: dict[str, tuple[int, ...]] = {}
        kind = "other"
        if section.type == "convolutional" and section.integer("groups", 1) == 1:
            kind, size = "conv2d-fix", section.integer("size", 1)
            attrs = {"kernel": (size,) * 2, "stride": (section.integer("stride", 1),) * 2}
            attrs["pad"] = (convolution_padding(section),) * 4
        elif section.type == "maxpool":
            kind, stride = "pool-fix", section.integer("stride", 1)
            attrs = {"kernel": (section.integer("size", stride),) * 2, "stride": (stride,) * 2}
            attrs["pad"] = maxpool_padding(section, in_shape[1:], shapes[layer][1:])
        if attrs:
            names.add(str(layer))
        inputs = ["input" if source == INPUT else str(source) for source in sources]
        ops.append(_op(str(layer), kind, attrs, inputs, shapes[layer]))
    return Graph(cfg.name, ops), names


def _op(name: str, kind: str, attrs: dict[str, tuple[int, ...]], inputs: list[str], shape: Shape) -> Op:
    channels, height, width = shape
    output = Tensor(name, (1, height, width, channels), "xint8")
    return Op(name, kind, {key: Attr("int32_vec", value) for key, value in attrs.items()}, {"input": inputs}, output)
