"""The cut itself: constants of removed channels go on into what reads them, then the rest is copied out.

A channel whose gamma is set to 0 still gives act(beta) everywhere. What reads it gets that constant by its running
mean (or a head by its bias), so it may be silenced. Source: Ye et al., arXiv:1802.00124. Under zero padding this is
exact except at the border, where the constant does not reach all taps; exact everywhere when beta is 0 too.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from compress.darknet.cfg import INPUT, Section, cfg_text, layer_shapes, layer_sources, parse_cfg
from compress.darknet.network import ConvolutionLayer, DarknetNetwork
from compress.darknet.section import HEAD_TYPES
from compress.pruning.options import Selection
from compress.pruning.selection import kept_inputs, selected_cfg

_PASSED_ON = ("maxpool", *HEAD_TYPES)  # a channel's constant comes out as it went in
_BY_PIXEL = ("route", "shortcut", "upsample")  # the layer itself says what comes out


@torch.no_grad()
def silenced(network: DarknetNetwork, selection: Selection, fold: bool = True) -> DarknetNetwork:
    """A full-size copy in evaluation mode in which what was not selected gives 0, its constants folded onward.

    Gamma and beta of removed channels are 0, so they add nothing at shortcuts, and removed blocks pass their input
    on. Without `fold` only gamma is 0: the channels give their constants still, and nothing is moved.

    The copy shares the convolutions' weights with the network, which are most of its memory.

    Raises:
        InputError: a channel was removed whose constant cannot be carried on, or that cannot be silenced.
    """
    shared = {
        id(layer.conv.weight): layer.conv.weight for layer in network.layers if isinstance(layer, ConvolutionLayer)
    }
    copied = copy.deepcopy(network, shared).eval()
    constants: list[Tensor] = []  # per layer what was taken out of each output channel, float64 (C,)
    at_input = torch.zeros(network.cfg.input_channels, dtype=torch.float64)
    shapes = layer_shapes(network.cfg)
    for index, (layer, sources) in enumerate(zip(copied.layers, layer_sources(network.cfg), strict=True)):
        taken = [at_input if source == INPUT else constants[source] for source in sources]
        section = network.cfg.layers[index]
        if isinstance(layer, ConvolutionLayer):
            if fold:
                give(layer, taken[0])
            constants.append(_silence(section, layer, ~torch.from_numpy(selection.kept[index]), fold))
        else:
            constants.append(_carried(section, layer, taken, shapes[index][0]))
    return copied


@torch.no_grad()
def compact(masked: DarknetNetwork, selection: Selection) -> DarknetNetwork:
    """The small network: what was selected of a network whose other channels are silenced."""
    cut, old_layers = selected_cfg(masked.cfg, selection)
    small = DarknetNetwork(parse_cfg(cfg_text(cut), cut.name)).eval()
    small.header = copy.copy(masked.header)
    read = kept_inputs(masked.cfg, selection)
    for new, old in enumerate(old_layers):
        if masked.cfg.layers[old].type == "convolutional":
            inputs, outputs = (torch.from_numpy(kept) for kept in (read[old], selection.kept[old]))
            _copy(masked.convolution(old), small.convolution(new), inputs, outputs)
    return small


def give(layer: ConvolutionLayer, constants: Tensor) -> None:
    """Let the layer do what it did when its input channels had these constants, float64 (I,), on top."""
    if not constants.any():
        return
    groups = layer.conv.groups
    taps = layer.conv.weight.sum((2, 3), dtype=torch.float64)  # (O, I / groups)
    of_groups = constants.to(taps.device).view(groups, -1, 1)
    offset = (taps.view(groups, -1, taps.shape[1]) @ of_groups).flatten()
    if layer.bn is None:
        assert layer.conv.bias is not None
        layer.conv.bias += offset.to(layer.conv.bias.dtype)
    else:
        assert layer.bn.running_mean is not None
        layer.bn.running_mean -= offset.to(layer.bn.running_mean.dtype)


def _silence(section: Section, layer: ConvolutionLayer, removed: Tensor, beta_too: bool) -> Tensor:
    """Set gamma, and beta, of removed channels to 0; gives the constants they had, float64 (O,)."""
    constants = torch.zeros(layer.conv.out_channels, dtype=torch.float64)
    if layer.bn is None or not removed.any():
        return constants
    _refuse_unsilent(section, layer.activate(torch.zeros(1)))
    beta = layer.bn.bias.detach().cpu().to(torch.float64, copy=True)  # activated in place
    constants[removed] = layer.activate(beta)[removed]
    layer.bn.weight[removed] = 0.0
    if beta_too:
        layer.bn.bias[removed] = 0.0
    return constants


def _carried(section: Section, layer: nn.Module, taken: list[Tensor], channels: int) -> Tensor:
    """The constants, float64 (C,), that a layer without weights passes on of those it reads."""
    if not any(part.any() for part in taken):
        return torch.zeros(channels, dtype=torch.float64)
    if section.type in _PASSED_ON:
        return taken[0]
    if section.type not in _BY_PIXEL:
        raise section.error("a layer that constants go through", "cut channels before it", "Keep those: --channels 0")
    if section.type == "shortcut":
        _refuse_unsilent(section, layer(torch.zeros(1), torch.zeros(1)))
    carried: Tensor = layer(*[part.view(1, -1, 1, 1) for part in taken])[0, :, 0, 0]
    return carried


def _refuse_unsilent(section: Section, at_zero: Tensor) -> None:
    """A channel can be taken out only where it can be made to give 0, as the padding after it does."""
    if at_zero.item():
        name = section.options["activation"]
        raise section.error("an activation that gives 0 for 0 where channels are cut", f"'{name}'", "Choose another")


def _copy(old: ConvolutionLayer, new: ConvolutionLayer, inputs: Tensor, outputs: Tensor) -> None:
    weight = old.conv.weight[outputs]
    new.conv.weight.copy_(weight if old.conv.groups > 1 else weight[:, inputs])  # before groups nothing is cut
    if old.bn is None or new.bn is None:
        assert old.conv.bias is not None and new.conv.bias is not None
        new.conv.bias.copy_(old.conv.bias[outputs])
        return
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(new.bn, name).copy_(getattr(old.bn, name)[outputs])
