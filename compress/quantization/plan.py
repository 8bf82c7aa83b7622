"""What a network is to the quantiser: its operators in running order, and which of them have a fix point of their own.

A convolution and its activation are one node. One-input routes and head sections pass their input on and are no
nodes; a route that takes one of several groups is a slice. A tensor read by one concatenation and nothing else has
no fix point: the concatenation's is its own, and it is not rounded before it. The rules are nndct's (pytorch_nndct
3.5.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from board_app.core.errors import InputError
from compress.darknet.cfg import INPUT, Cfg, Section, layer_shapes, layer_sources
from compress.darknet.dpu_hindrances import dpu_hindrances
from compress.darknet.section import HEAD_TYPES
from compress.darknet.shapes import activation_of, convolution_padding, maxpool_padding

Kind = Literal["input", "conv", "maxpool", "add", "concat", "upsample", "slice"]
Activation = Literal["linear", "leaky", "relu"]


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        index: its place in `Plan.nodes`.
        layer: index of its cfg section ([net] not counted), INPUT for the input.
        inputs: indices of the nodes it reads, in order.
        shape: (C, H, W) of its output.
        size, stride: of convolution and pooling; `stride` is the factor of an upsample.
        pad: (left, right, top, bottom); zeros around a convolution, minus infinity around a pooling.
        begin: of a slice, the first of its input's channels.
        trace: nndct's running number of its last operator, as in `nndct_leaky_relu_2`.
    """

    index: int
    layer: int
    kind: Kind
    inputs: tuple[int, ...]
    shape: tuple[int, int, int]
    activation: Activation = "linear"
    size: int = 1
    stride: int = 1
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    begin: int = 0
    trace: int = 0

    @property
    def copies(self) -> bool:
        """Whether its values are its input's as they are, so that it has its input's fix point."""
        return self.kind in ("upsample", "slice")

    @property
    def tensor(self) -> str:
        """The name of its int8 tensor, in the exported graph too."""
        if self.kind == "input":
            return "input_0_fix"
        operator = {"upsample": "resize", "slice": "strided_slice"}.get(self.kind, self.kind)
        if self.activation != "linear":
            operator = {"leaky": "leaky_relu", "relu": "relu"}[self.activation]
        return f"{operator}{self.layer}_fix"

    @property
    def nndct_node(self) -> str:
        """What nndct calls it in quant_info.json, without the network's name."""
        names = {"conv": "conv2d", "add": "elemwise_add", "upsample": "resize", "slice": "strided_slice"}
        name = names.get(self.kind, self.kind)
        if self.activation != "linear":
            name = {"leaky": "leaky_relu", "relu": "relu"}[self.activation]
        return f"nndct_{name}_{self.trace}"


@dataclass(frozen=True)
class Plan:
    """The nodes in running order and the head convolutions, as indices of nodes in cfg order."""

    nodes: tuple[Node, ...]
    heads: tuple[int, ...]

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each node the nodes that read it, in running order."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for node in self.nodes:
            for source in dict.fromkeys(node.inputs):
                readers[source].append(node.index)
        return tuple(map(tuple, readers))

    @cached_property
    def fix_point_owner(self) -> tuple[int, ...]:
        """For each node the node whose fix point its values are rounded to: itself, or the concatenation after it."""
        owners = list(range(len(self.nodes)))
        for index in reversed(owners[:]):  # readers come later, so theirs is known
            readers = self.consumers[index]
            if len(readers) == 1 and self.nodes[readers[0]].kind == "concat" and index not in self.heads:
                owners[index] = owners[readers[0]]
        return tuple(owners)

    def has_fix_point(self, node: Node) -> bool:
        """Whether the node's output is an int8 tensor of its own."""
        return self.fix_point_owner[node.index] == node.index

    @cached_property
    def convolutions(self) -> tuple[Node, ...]:
        """The convolutions in running order."""
        return tuple(node for node in self.nodes if node.kind == "conv")

    @cached_property
    def by_layer(self) -> dict[int, Node]:
        """From the cfg layer's index to its node."""
        return {node.layer: node for node in self.nodes}


def plan_of(cfg: Cfg, heads: tuple[int, ...]) -> Plan:
    """The plan of a network; sections that no head depends on are left out.

    Args:
        cfg: a checked network description.
        heads: cfg layer indices of the head convolutions, in cfg order.
    Raises:
        InputError: a section or an activation that the DPU's int8 path does not have, with its line.
    """
    shapes = layer_shapes(cfg)
    sources = layer_sources(cfg)
    needed = _ancestors(heads, sources)
    _refuse(cfg, needed)
    height, width = cfg.input_hw
    nodes = [Node(0, INPUT, "input", (), (cfg.input_channels, height, width))]
    index_of = {INPUT: 0}
    trace = 0
    for layer, section in enumerate(cfg.layers):
        if layer not in needed:
            continue
        inputs = tuple(index_of[source] for source in sources[layer])
        if section.type == "shortcut":
            inputs = inputs[::-1]  # nndct's order; the layer before comes last
        if section.type in HEAD_TYPES or (
            section.type == "route" and len(inputs) == 1 and section.integer("groups", 1) == 1
        ):
            index_of[layer] = inputs[0]
            continue
        kind, fields = _operator(section, nodes[inputs[0]].shape, shapes[layer])
        trace += 2 if fields.get("activation", "linear") != "linear" else 1
        nodes.append(Node(len(nodes), layer, kind, inputs, shapes[layer], trace=trace, **fields))
        index_of[layer] = nodes[-1].index
    return Plan(tuple(nodes), tuple(index_of[head] for head in heads))


def _ancestors(heads: tuple[int, ...], sources: list[tuple[int, ...]]) -> set[int]:
    needed: set[int] = set()
    waiting = list(heads)
    while waiting:
        layer = waiting.pop()
        if layer not in needed and layer != INPUT:
            needed.add(layer)
            waiting.extend(sources[layer])
    return needed


def _refuse(cfg: Cfg, needed: set[int]) -> None:
    for hindrance in dpu_hindrances(cfg):
        if hindrance.layer in needed and not hindrance.quantises:
            raise InputError(
                f"{cfg.name}, line {hindrance.line}: expected a layer that runs in int8 on the DPU, found "
                f"[{hindrance.section}], where the DPU {hindrance.lacks}. {hindrance.instead}."
            )


def _operator(
    section: Section, in_chw: tuple[int, int, int], out_chw: tuple[int, int, int]
) -> tuple[Kind, dict[str, Any]]:
    if section.type == "convolutional":
        fields = {"size": section.integer("size", 1), "stride": section.integer("stride", 1)}
        return "conv", {**fields, "pad": (convolution_padding(section),) * 4, "activation": activation_of(section)}
    if section.type == "maxpool":
        stride = section.integer("stride", 1)
        pad = maxpool_padding(section, in_chw[1:], out_chw[1:])
        return "maxpool", {"size": section.integer("size", stride), "stride": stride, "pad": pad}
    if section.type == "upsample":
        return "upsample", {"stride": section.integer("stride", 2)}
    if section.type == "shortcut":
        return "add", {}
    assert section.type == "route"
    if section.integer("groups", 1) > 1:
        return "slice", {"begin": section.integer("group_id", 0) * out_chw[0]}
    return "concat", {}
