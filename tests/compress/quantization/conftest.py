"""The reference cases of the real quantiser as cfg networks, and small networks with random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.darknet.cfg import parse_cfg
from compress.darknet.network import DarknetNetwork
from compress.quantization.quantized_network import QuantizedNetwork
from compress.quantization.quantizer import quantize


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small are slower on several threads, and much slower beside other programs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def conv(filters: int, size: int, stride: int = 1, activation: str = "leaky", bn: int = 1) -> str:
    """A convolutional section."""
    return (
        f"[convolutional]\nbatch_normalize={bn}\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\n"
        f"activation={activation}\n"
    )


def head(classes: int = 1) -> str:
    """A head convolution and its yolo section."""
    return conv(3 * (5 + classes), 1, activation="linear", bn=0) + (
        f"[yolo]\nmask=0,1,2\nanchors=10,14, 23,27, 37,58\nclasses={classes}\nnum=3\n"
    )


def net(size: int) -> str:
    """A net section with a square input."""
    return f"[net]\nwidth={size}\nheight={size}\nchannels=3\n"


def route(*layers: int) -> str:
    """A route section."""
    return f"[route]\nlayers={','.join(map(str, layers))}\n"


def maxpool(size: int, stride: int, padding: int | None = None) -> str:
    """A maxpool section."""
    return f"[maxpool]\nsize={size}\nstride={stride}\n" + ("" if padding is None else f"padding={padding}\n")


SHORTCUT = "[shortcut]\nfrom=-3\nactivation=linear\n"
UPSAMPLE = "[upsample]\nstride=2\n"

TINY_YOLO = (
    net(32) + conv(8, 3) + conv(16, 3, 2) + conv(8, 1) + conv(16, 3) + SHORTCUT + maxpool(2, 2) + conv(32, 3)
    + head() + route(-3) + conv(16, 1) + UPSAMPLE + route(-1, 4) + conv(16, 3) + head()
)  # fmt: skip
_SPP_UP_TO_POOLING = (
    net(32) + conv(8, 3) + conv(16, 3, 2) + maxpool(5, 1) + route(-2) + maxpool(9, 1) + route(1, 2, -1) + conv(16, 1)
)  # fmt: skip
SPP = _SPP_UP_TO_POOLING + maxpool(2, 1) + head()
# as it went through the real quantiser: its pooling makes 15 x 15 of 16 x 16, so it has no sound detection head
SPP_CASE = _SPP_UP_TO_POOLING + maxpool(2, 1, padding=0) + conv(18, 1, activation="linear", bn=0)
# what the two lack: a convolution that only a concatenation reads, an upsample and a padded pooling that none reads
CORNERS = (
    net(32) + conv(8, 3, 2) + conv(12, 3, 2) + conv(7, 1) + route(-2) + conv(9, 3) + route(-1, -3) + maxpool(2, 1)
    + conv(10, 3, 2, activation="relu") + UPSAMPLE + conv(16, 3) + maxpool(3, 2) + head()
)  # fmt: skip


def pruned_yolov3(size: int, seed: int) -> str:
    """A YOLOv3 with three heads, uneven small widths and some of its blocks gone, as pruning leaves it."""
    random = np.random.default_rng(seed)

    def width() -> int:
        return int(random.integers(5, 24))

    text, layer, taps = net(size) + conv(width(), 3), 1, []
    for blocks in (1, 1, 4, 3, 2):
        stage_width = width()
        text, layer = text + conv(stage_width, 3, 2), layer + 1
        for _ in range(blocks):
            text, layer = text + conv(width(), 1) + conv(stage_width, 3) + SHORTCUT, layer + 3
        taps.append(layer - 1)
    for scale, tap in enumerate((None, taps[3], taps[2])):
        if tap is not None:
            text, layer = text + route(-4) + conv(width(), 1) + UPSAMPLE + route(-1, tap), layer + 4
        for _ in range(3 if scale else 2):
            text, layer = text + conv(width(), 1) + conv(width(), 3), layer + 2
        text, layer = text + head(classes=2), layer + 2
    return text


def random_network(cfg_text: str, seed: int, name: str = "random") -> DarknetNetwork:
    """A network with random weights, whose BN statistics are those of its own activations on random images."""
    torch.manual_seed(seed)
    network = DarknetNetwork(parse_cfg(cfg_text, name))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, a=0.1)
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, 0, 0.5)
        elif isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
            module.momentum = None  # plain average
            module.reset_running_stats()
    network.train()
    with torch.no_grad():
        network(torch.rand(4, 3, *network.cfg.input_hw))
    return network.eval()


@dataclass(frozen=True)
class Case:
    """A reference case: the network, its calibration, and what nndct made of it."""

    name: str
    network: DarknetNetwork
    batches: list[Tensor]
    bias_correction: bool
    layer_of: dict[str, int]  # nndct's parameter prefix -> cfg layer
    golden: dict[str, np.ndarray]
    xmodel: Path

    def quantized(self) -> QuantizedNetwork:
        """The network by our quantiser."""
        return quantize(self.network, self.batches, self.bias_correction)


_CASES = {
    "tinyyolo_default": (TINY_YOLO, True, ("c1", "c2", "c3", "c4", "c5", "head1", "c6", "c7", "head2")),
    "tinyyolo_nocorr": (TINY_YOLO, False, ("c1", "c2", "c3", "c4", "c5", "head1", "c6", "c7", "head2")),
    "spp_nocorr": (SPP_CASE, False, ("c1", "c2", "c3", "head")),
}


@pytest.fixture(params=_CASES)
def case(request: pytest.FixtureRequest, shared_data: Path) -> Case:
    """Each network that went through the real quantiser as a torch module, here as a cfg."""
    folder = shared_data / "nndct_reference"
    text, bias_correction, prefixes = _CASES[request.param]
    with np.load(folder / f"{request.param}.npz") as arrays:
        golden = dict(arrays)
    network = DarknetNetwork(parse_cfg(text.replace(SPP_CASE, SPP), request.param)).eval()
    network.cfg = parse_cfg(text, request.param)  # the same convolutions, the same head
    layers = [i for i, section in enumerate(network.cfg.layers) if section.type == "convolutional"]
    layer_of = dict(zip(prefixes, layers, strict=True))
    for prefix, layer in layer_of.items():
        parts: dict[str, tuple[str, ...]] = {"conv": ("weight", "bias")}
        if not prefix.startswith("head"):
            parts = {"conv": ("weight",), "bn": ("weight", "bias", "running_mean", "running_var")}
        for part, names in parts.items():
            source = prefix if prefix.startswith("head") else f"{prefix}.{part}"
            _load(network.get_submodule(f"layers.{layer}.{part}"), golden, source, names)
    batches = [torch.from_numpy(golden[f"calib/{index}"]) for index in range(5)]
    return Case(
        request.param, network, batches, bias_correction, layer_of, golden, folder / f"{request.param}.int.xmodel"
    )


def _load(module: torch.nn.Module, golden: dict[str, np.ndarray], prefix: str, names: tuple[str, ...]) -> None:
    with torch.no_grad():
        for name in names:
            getattr(module, name).copy_(torch.from_numpy(golden[f"float/{prefix}.{name}"]))


@pytest.fixture
def cfg_texts() -> dict[str, str]:
    """Networks as cfg texts, by name."""
    return {
        "tiny_yolo": TINY_YOLO,
        "spp": SPP,
        "corners": CORNERS,
        "pruned_yolov3": pruned_yolov3(96, seed=3),
    }


@pytest.fixture
def make_network() -> Callable[..., DarknetNetwork]:
    """`random_network`."""
    return random_network
