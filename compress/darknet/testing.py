"""Small networks for tests: random cfgs with every kind of layer, and weights that make every one of them matter."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from compress.darknet.cfg import Cfg, Section, cfg_text, layer_shapes, parse_cfg
from compress.darknet.network import ConvolutionLayer, DarknetNetwork

MORE = ("spatial_pyramid", "reorg", "grouped", "scaled_upsample", "activations")  # what `random_cfg` can add
_CLASSES = 2
_ANCHORS = {"mask": "1,2", "anchors": "4,5,10,8,20,30", "num": 3, "classes": _CLASSES}
_HEAD_FILTERS = 2 * (5 + _CLASSES)


def random_cfg(
    seed: int,
    layers: int = 12,
    input_hw: tuple[int, int] = (32, 64),
    slope: float = 0.1,
    more: Sequence[str] = (),
) -> Cfg:
    """A detector of about so many layers and one to three heads; the same one for the same arguments.

    `more` names what comes on top of YOLOv3's layers: any of `MORE`.
    """
    assert set(more) <= set(MORE)
    growth = _Growth(random.Random(seed), input_hw, slope, more)  # noqa: S311
    growth.convolution()
    heads = 1 + growth.rng.randrange(3)
    for _ in range(heads):
        for _ in range(max(1, layers // heads)):
            growth.rng.choice(growth.steps)()
        growth.head()
    return growth.cfg()


def randomise(network: DarknetNetwork, seed: int = 0, share_zero: float = 0.0) -> DarknetNetwork:
    """Fill the network, in evaluation mode, with lively random numbers; that share of gammas and betas is 0."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.eval().layers:
        if not isinstance(layer, ConvolutionLayer):
            continue
        with torch.no_grad():
            fan_in = layer.conv.weight[0].numel()
            layer.conv.weight.normal_(0, fan_in**-0.5, generator=generator)
            if layer.bn is None:
                assert layer.conv.bias is not None
                layer.conv.bias.normal_(0, 0.5, generator=generator)
                continue
            assert layer.bn.running_mean is not None and layer.bn.running_var is not None
            layer.bn.weight.uniform_(-1.5, 1.5, generator=generator)
            layer.bn.bias.normal_(0, 0.5, generator=generator)
            layer.bn.running_mean.normal_(0, 0.3, generator=generator)
            layer.bn.running_var.uniform_(0.3, 2.0, generator=generator)
            alive = torch.rand(layer.bn.weight.shape, generator=generator) >= share_zero
            layer.bn.weight.mul_(alive)
            layer.bn.bias.mul_(alive)
    return network


class _Growth:
    """Sections in the making, each step checked by the shapes so far."""

    def __init__(self, rng: random.Random, input_hw: tuple[int, int], slope: float, more: Sequence[str]) -> None:
        self.rng = rng
        options = {"height": str(input_hw[0]), "width": str(input_hw[1]), "channels": "3", "leaky_slope": str(slope)}
        self._net = Section("net", options)
        self._layers: list[Section] = []
        self.steps = (
            self.convolution,
            self.convolution,
            self.block,
            self.block,
            self.shortcut,
            self.maxpool,
            self.halving,
            self.upsample,
            self.route_one,
            self.route_many,
            self.route_group,
            *[getattr(self, name) for name in more if name != "activations"],
        )
        others = ("mish", "swish", "relu6", "logistic") if "activations" in more else ()
        self._activations = ("leaky", "leaky", "leaky", "relu", "linear", *others)
        self._sum_activations = ("linear", "leaky", "relu", *others) if "activations" in more else ("linear",)

    def cfg(self) -> Cfg:
        built = Cfg(self._net, tuple(self._layers), "random")
        return parse_cfg(cfg_text(built), built.name)

    def convolution(self, filters: int | None = None, size: int | None = None, stride: int = 1) -> None:
        options = {"batch_normalize": 1} if filters or self.rng.random() < 0.85 else {}
        options |= {"filters": filters or self.rng.choice((3, 4, 6, 8)), "size": size or self.rng.choice((1, 3))}
        activation = self.rng.choice(self._activations)
        self._add("convolutional", **options, stride=stride, pad=1, activation=activation)

    def block(self) -> None:
        channels = self._shapes()[-1][0]
        if self._layers[-1].type != "yolo":
            self.convolution(self.rng.choice((3, 4)), 1)
            self.convolution(channels, 3)
            self._add("shortcut", **{"from": -3, "activation": self._sum_activation()})

    def shortcut(self) -> None:
        shapes = self._shapes()
        equal = [index for index in self._readable()[:-1] if shapes[index] == shapes[-1]]
        if equal and self._layers[-1].type != "yolo":
            self._add("shortcut", **{"from": self._named(self.rng.choice(equal)), "activation": self._sum_activation()})

    def _sum_activation(self) -> str:
        return self.rng.choice(self._sum_activations) if len(self._sum_activations) > 1 else "linear"

    def maxpool(self) -> None:
        size, stride = self.rng.choice(((2, 2), (2, 1), (3, 1), (5, 1)))
        if min(self._shapes()[-1][1:]) > 4 or stride == 1:
            self._add("maxpool", size=size, stride=stride)

    def halving(self) -> None:
        if min(self._shapes()[-1][1:]) > 4:
            self.convolution(size=3, stride=2)

    def upsample(self) -> None:
        if self._shapes()[-1][1] * 2 <= int(self._net.options["height"]):
            self._add("upsample", stride=2)

    def route_one(self) -> None:
        self._add("route", layers=self._named(self.rng.choice(self._readable())))

    def route_many(self) -> None:
        shapes, readable = self._shapes(), self._readable()
        last = readable[-1]
        fitting = [index for index in readable if shapes[index][1:] == shapes[last][1:]]
        chosen = [last, *self.rng.choices(fitting, k=self.rng.choice((1, 1, 2)))]
        self._add("route", layers=",".join(str(self._named(index)) for index in chosen))

    def route_group(self) -> None:
        shapes = self._shapes()
        even = [index for index in self._readable() if shapes[index][0] % 2 == 0]
        if even and self.rng.random() < 0.5:
            self._add("route", layers=self._named(even[-1]), groups=2, group_id=self.rng.randrange(2))

    def spatial_pyramid(self) -> None:
        """Pools of several sizes over one map, side by side with it, as yolov3-spp has them."""
        pooled = len(self._layers) - 1
        if self._layers[pooled].type == "yolo" or self._shapes()[pooled][0] > 8:
            return
        for size in (3, 5, 9):
            if len(self._layers) > pooled + 1:
                self._add("route", layers=self._named(pooled))
            self._add("maxpool", size=size, stride=1)
        pools = (pooled + 1, pooled + 3, pooled + 5)
        self._add("route", layers=",".join(str(self._named(index)) for index in (*reversed(pools), pooled)))

    def reorg(self) -> None:
        channels, height, width = self._shapes()[-1]
        if min(height, width) > 4 and height % 2 == 0 and width % 2 == 0 and channels % 4 == 0 and channels <= 16:
            self._add("reorg", stride=2)

    def grouped(self) -> None:
        """A convolution in groups, as often as not with one channel each."""
        channels = self._shapes()[-1][0]
        divisors = [groups for groups in (2, 3, 4) if channels % groups == 0]
        if divisors and channels <= 16:
            groups = self.rng.choice((*divisors, channels))
            filters = {"filters": channels if groups > 4 else 12, "groups": groups}
            activation = self.rng.choice(self._activations)
            self._add("convolutional", batch_normalize=1, **filters, size=3, stride=1, pad=1, activation=activation)

    def scaled_upsample(self) -> None:
        if self._shapes()[-1][1] * 2 <= int(self._net.options["height"]):
            self._add("upsample", stride=2, scale=0.5)

    def head(self) -> None:
        self._add("convolutional", size=1, stride=1, pad=1, filters=_HEAD_FILTERS, activation="linear")
        self._add("yolo", **_ANCHORS)
        self._add("route", layers=self._named(self.rng.choice(self._readable()[:-1])))

    def _add(self, kind: str, **options: object) -> None:
        if self._layers and self._layers[-1].type == "yolo" and kind != "route":
            self.route_one()
        self._layers.append(Section(kind, {key: str(value) for key, value in options.items()}))

    def _shapes(self) -> list[tuple[int, int, int]]:
        return layer_shapes(Cfg(self._net, tuple(self._layers), "growing"))

    def _readable(self) -> list[int]:
        return [index for index, section in enumerate(self._layers) if section.type != "yolo"]

    def _named(self, index: int) -> int:
        """The index as a cfg may have it: absolute or relative to the section that is added next."""
        return index if self.rng.random() < 0.5 else index - len(self._layers)
