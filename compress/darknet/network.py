"""The network of a cfg in torch, as far as the raw head convolutions; decoding is board_app.core.yolo_head's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from compress.darknet.activations import activated, slope_below_zero
from compress.darknet.cfg import INPUT, Cfg, Section, layer_shapes, layer_sources
from compress.darknet.heads import heads_of
from compress.darknet.shapes import Shape, activation_of, convolution_padding, maxpool_padding

TORCH_BN_EPSILON = 1e-5
DARKNET_BN_EPSILON = 1e-6


@dataclass
class WeightsHeader:
    """What a weights file says before its numbers: Darknet's version and the images seen in training."""

    major: int = 0
    minor: int = 2
    revision: int = 5
    seen: int = 0


class DarknetNetwork(nn.Module):
    """A cfg as a torch module: float32 (N, 3, H, W), RGB / 255, to the raw heads.

    Attributes:
        cfg: the description it was built from.
        layers: one module per section of the cfg.
        heads: its outputs, in cfg order.
        header: of the weights file it came from.

    Raises:
        InputError: the cfg has no head, or its layers do not fit together.
    """

    def __init__(self, cfg: Cfg) -> None:
        super().__init__()
        self.cfg = cfg
        self.heads = heads_of(cfg)
        self.header = WeightsHeader()
        self._sources = layer_sources(cfg)
        shapes = layer_shapes(cfg)
        at_input: Shape = (cfg.input_channels, *cfg.input_hw)
        self.layers = nn.ModuleList()
        for section, sources, shape in zip(cfg.layers, self._sources, shapes):
            self.layers.append(_module(cfg, section, at_input if sources[0] == INPUT else shapes[sources[0]], shape))
        self._last_use = self._last_uses()

    def forward(self, x: Tensor) -> list[Tensor]:
        """The raw head convolutions, each (N, A*(5+C), H, W), in cfg order."""
        outputs: dict[int, Tensor] = {INPUT: x}
        for index, module in enumerate(self.layers):
            if index not in self._last_use:
                continue
            sources = self._sources[index]
            outputs[index] = module(*[outputs[source] for source in sources])
            for source in set(sources):
                if self._last_use[source] == index:
                    del outputs[source]
        return [outputs[head.layer] for head in self.heads]

    def forward_layers(self, x: Tensor) -> list[Tensor]:
        """Every layer's output (N, C, H, W); a head section passes its input on."""
        outputs: list[Tensor] = []
        for module, sources in zip(self.layers, self._sources):
            outputs.append(module(*[x if source == INPUT else outputs[source] for source in sources]))
        return outputs

    def init_heads(self, objectness: float = 0.01) -> None:
        """Set the heads' biases so that an untrained network expects an object in that share of the anchor cells.

        Source: Lin et al., Focal loss, arXiv:1708.02002, section 4.1.
        """
        for head in self.heads:
            bias = self.convolution(head.layer).conv.bias
            assert bias is not None
            with torch.no_grad():
                parts = bias.view(len(head.anchors), 5 + head.classes)
                parts[:, 4] = math.log(objectness / (1 - objectness))
                parts[:, 5:] = -math.log(max(1.5, head.classes - 1))  # every class equally likely

    def convolution(self, index: int) -> ConvolutionLayer:
        """The convolution that the cfg's layer `index` is."""
        layer = self.layers[index]
        assert isinstance(layer, ConvolutionLayer)
        return layer

    def batch_norm(self, index: int) -> nn.BatchNorm2d:
        """The batch normalisation of the convolution that the cfg's layer `index` is; it must have one."""
        bn = self.convolution(index).bn
        assert bn is not None
        return bn

    def set_bn_epsilon(self, epsilon: float) -> None:
        """Make `epsilon` what every batch normalisation adds to its variances, in the cfg too."""
        self.cfg = replace(self.cfg, net=self.cfg.net.with_options(bn_epsilon=repr(epsilon)))
        for layer in self.layers:
            if isinstance(layer, ConvolutionLayer) and layer.bn is not None:
                layer.bn.eps = epsilon

    def _last_uses(self) -> dict[int, int]:
        """For the input and every layer that a head needs: the last layer that reads it; heads stay to the end."""
        last: dict[int, int] = {head.layer: len(self.layers) for head in self.heads}
        for index in reversed(range(len(self.layers))):
            if index in last:
                for source in self._sources[index]:
                    last.setdefault(source, index)
        return last


class ConvolutionLayer(nn.Module):
    """Convolution, batch normalisation where the cfg has it, activation."""

    def __init__(self, section: Section, in_channels: int, slope: float, bn_epsilon: float) -> None:
        super().__init__()
        normalised = bool(section.integer("batch_normalize", 0))
        self.conv = nn.Conv2d(
            in_channels,
            section.integer("filters"),
            section.integer("size", 1),
            section.integer("stride", 1),
            convolution_padding(section),
            groups=section.integer("groups", 1),
            bias=not normalised,
        )
        self.bn = nn.BatchNorm2d(self.conv.out_channels, eps=bn_epsilon) if normalised else None
        self.activation = activation_of(section)
        self.slope = slope_below_zero(self.activation, slope)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H', W')."""
        x = self.conv(x)
        return self.activate(x if self.bn is None else self.bn(x))

    def activate(self, x: Tensor) -> Tensor:
        """The activation of every number, in place where it can be."""
        return activated(x, self.activation, self.slope)


class ShortcutLayer(nn.Module):
    """The sum of two layers, activated."""

    def __init__(self, activation: str, slope: float) -> None:
        super().__init__()
        self.activation, self.slope = activation, slope

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Two (N, C, H, W) -> one."""
        return activated(x + other, self.activation, self.slope)


class RouteLayer(nn.Module):
    """Layers side by side in their channels; with groups the group_id-th part of each."""

    def __init__(self, groups: int, group: int) -> None:
        super().__init__()
        self.groups, self.group = groups, group

    def forward(self, *inputs: Tensor) -> Tensor:
        """(N, Ci, H, W) each -> (N, sum of Ci / groups, H, W)."""
        parts = [x if self.groups == 1 else self._part(x) for x in inputs]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _part(self, x: Tensor) -> Tensor:
        length = x.shape[1] // self.groups
        return x[:, self.group * length : (self.group + 1) * length]


class UpsampleLayer(nn.Module):
    """Every pixel `stride` times in both directions, times `scale`."""

    def __init__(self, stride: int, scale: float) -> None:
        super().__init__()
        self.stride, self.scale = stride, scale

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, stride*H, stride*W)."""
        x = functional.interpolate(x, scale_factor=self.stride, mode="nearest")
        return x if self.scale == 1 else x * self.scale


class ReorgLayer(nn.Module):
    """Blocks of stride x stride pixels turned into channels, in Darknet's own order.

    Darknet (src/blas.c, reorg_cpu) takes the input's sizes where it means the output's: the numbers (C, H, W) are
    read as (C / s^2, s*H, s*W), rearranged, and called (C*s^2, H / s, W / s). Weights are trained with that order.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, s*s*C, H / s, W / s)."""
        n, c, h, w = x.shape
        s = self.stride
        blocks = x.reshape(n, c // (s * s), h, s, w, s).permute(0, 3, 5, 1, 2, 4)
        return blocks.reshape(n, s * s * c, h // s, w // s)


class MaxpoolLayer(nn.Module):
    """Maximum over windows; what lies beyond the edge counts as minus infinity."""

    def __init__(self, size: int, stride: int, padding: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding  # padding: left, right, top, bottom

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H', W')."""
        left, right, top, bottom = self.padding
        if left == right == top == bottom:
            return functional.max_pool2d(x, self.size, self.stride, left)
        return functional.max_pool2d(functional.pad(x, self.padding, value=float("-inf")), self.size, self.stride)


def _module(cfg: Cfg, section: Section, in_shape: Shape, out_shape: Shape) -> nn.Module:
    if section.type == "convolutional":
        return ConvolutionLayer(section, in_shape[0], cfg.leaky_slope, cfg.bn_epsilon or TORCH_BN_EPSILON)
    if section.type == "maxpool":
        stride = section.integer("stride", 1)
        padding = maxpool_padding(section, in_shape[1:], out_shape[1:])
        return MaxpoolLayer(section.integer("size", stride), stride, padding)
    if section.type == "route":
        return RouteLayer(section.integer("groups", 1), section.integer("group_id", 0))
    if section.type == "upsample":
        return UpsampleLayer(section.integer("stride", 2), section.number("scale", 1.0))
    if section.type == "reorg":
        return ReorgLayer(section.integer("stride", 1))
    if section.type == "shortcut":
        return ShortcutLayer(activation_of(section), cfg.leaky_slope)
    return nn.Identity()
