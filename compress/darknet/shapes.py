"""What every layer reads and what comes out of it; the place where a network description is checked.

The arithmetic of sizes and padding is Darknet's (src/convolutional_layer.c, maxpool_layer.c, route_layer.c).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Tuple, TypeVar

from board_app.core.errors import InputError
from compress.darknet.section import HEAD_TYPES, INPUT, Cfg, Section

_Result = TypeVar("_Result")
Shape = Tuple[int, int, int]  # channels, height, width
LAYER_TYPES = ("convolutional", "shortcut", "route", "upsample", "maxpool", "reorg", "yolo", "region")
ACTIVATIONS = ("leaky", "linear", "relu", "relu6", "mish", "swish", "logistic")
_ONLY_VALUE = {  # options that change the arithmetic in ways that are not built
    "convolutional": {"dilation": 1, "flipped": 0, "binary": 0, "xnor": 0, "antialiasing": 0, "share_index": -1},
    "shortcut": {"alpha": 1, "beta": 1},
    "maxpool": {"maxpool_depth": 0, "antialiasing": 0},
    "reorg": {"reverse": 0, "flatten": 0, "extra": 0},
    "yolo": {"new_coords": 0},
    "region": {"coords": 4, "background": 0},
}


def layer_sources(cfg: Cfg) -> list[tuple[int, ...]]:
    """For every layer the layers that it reads, as indices from 0; INPUT (-1) is the network's input.

    A shortcut's are the layer before it and the one it names.

    Raises:
        InputError: an index outside the layers before, with its line.
    """
    return _named(cfg, lambda: [_sources(index, section) for index, section in enumerate(cfg.layers)])


def layer_shapes(cfg: Cfg) -> list[Shape]:
    """For every layer (channels, height, width) of its output; the layers are checked on the way.

    Raises:
        InputError: options or layers that do not fit together: line, expected, found, what to do.
    """
    return _named(cfg, lambda: _shapes(cfg))


def convolution_padding(section: Section) -> int:
    """Zeros that a convolution adds on each side."""
    size = section.integer("size", 1, minimum=1)
    return size // 2 if section.integer("pad", 0) else section.integer("padding", 0, minimum=0)


def maxpool_padding(
    section: Section, input_hw: tuple[int, int], output_hw: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Left, right, top and bottom padding of a maxpool, which counts as minus infinity."""
    stride, size = section.integer("stride", 1), section.integer("size", section.integer("stride", 1))
    before = section.integer("padding", size - 1) // 2
    bottom, right = (max(0, (after - 1) * stride + size - before - was) for was, after in zip(input_hw, output_hw))
    return before, right, before, bottom


def activation_of(section: Section) -> str:
    """The name of a convolution's or shortcut's activation, Darknet's own where the cfg is silent."""
    return section.options.get("activation", "logistic" if section.type == "convolutional" else "linear")


def head_anchors(section: Section) -> tuple[tuple[float, float], ...]:
    """The (width, height) pairs of a head section: in network pixels for [yolo], in grid cells for [region].

    A [yolo] has those that its mask picks.
    """
    number = section.integer("num", 1, minimum=1)
    flat = section.floats("anchors")
    if len(flat) != 2 * number:
        raise section.error(f"{2 * number} numbers in 'anchors' (num={number})", str(len(flat)), "Make them agree")
    if min(flat) <= 0:
        raise section.error("anchors above 0", f"{min(flat):g}", "Correct 'anchors'")
    if section.type == "region":
        return tuple(zip(flat[::2], flat[1::2]))
    mask = section.integers("mask", range(number), minimum=0)
    if max(mask) >= number:
        raise section.error(f"'mask' entries below num={number}", section.options["mask"], "Correct the mask")
    return tuple((flat[2 * entry], flat[2 * entry + 1]) for entry in mask)


def _named(cfg: Cfg, compute: Callable[[], _Result]) -> _Result:
    try:
        return compute()
    except InputError as error:
        raise InputError(f"{cfg.name}, {error}") from error


def _sources(index: int, section: Section) -> tuple[int, ...]:
    if section.type == "route":
        return tuple(_earlier(index, section, "layers", number) for number in section.integers("layers"))
    if section.type == "shortcut":
        return index - 1, _earlier(index, section, "from", section.integer("from"))
    return (index - 1,)


def _earlier(index: int, section: Section, key: str, number: int) -> int:
    layer = index + number if number < 0 else number
    if not index:
        raise section.error("a layer before it", "none", "Put a [convolutional] first")
    if not 0 <= layer < index:
        raise section.error(
            f"'{key}' to name layers from 0 to {index - 1} or from -{index} to -1", str(number), "Correct the index"
        )
    return layer


def _shapes(cfg: Cfg) -> list[Shape]:
    _check_net(cfg)
    shapes: list[Shape] = []
    at_input: Shape = (cfg.input_channels, *cfg.input_hw)
    for index, section in enumerate(cfg.layers):
        for key, only in _ONLY_VALUE.get(section.type, {}).items():
            if section.floats(key, (only,)) != (only,):
                raise section.error(f"{key}={only}", f"{key}={section.options[key]}", "Use a network without it")
        sources = _sources(index, section)
        for source in sources:
            if source != INPUT and cfg.layers[source].type in HEAD_TYPES:
                kind = cfg.layers[source].type
                raise section.error(f"an input that is not a [{kind}]", f"layer {source}", "Put a [route] before it")
        inputs = [at_input if source == INPUT else shapes[source] for source in sources]
        shapes.append(_CHECKED_SHAPE[section.type](cfg, index, section, inputs))
    return shapes


def _check_net(cfg: Cfg) -> None:
    """The options of [net] that say nothing about sizes."""
    cfg.net.number("leaky_slope", 0.0)
    if cfg.net.number("bn_epsilon", 1.0) <= 0:
        raise cfg.net.error("'bn_epsilon' above 0", cfg.net.options["bn_epsilon"], "Correct it, or leave it out")


def _convolutional(cfg: Cfg, index: int, section: Section, inputs: list[Shape]) -> Shape:
    for key in ("stride_x", "stride_y"):
        if key in section.options:
            raise section.error("one 'stride'", f"'{key}'", "Use a network with square strides")
    _check_activation(section)
    section.integer("batch_normalize", 0)
    filters, groups = section.integer("filters", minimum=1), section.integer("groups", 1, minimum=1)
    if filters % groups or inputs[0][0] % groups:
        raise section.error(
            "'groups' that divides the filters and the input's channels",
            f"groups={groups}, filters={filters}, {inputs[0][0]} channels",
            "Correct them",
        )
    size, stride = section.integer("size", 1, minimum=1), section.integer("stride", 1, minimum=1)
    padding = convolution_padding(section)
    height, width = (_length(section, length, 2 * padding, size, stride) for length in inputs[0][1:])
    return filters, height, width


def _check_activation(section: Section) -> None:
    if activation_of(section) not in ACTIVATIONS:
        raise section.error(
            f"an activation of {', '.join(ACTIVATIONS)}", activation_of(section), "Train with activation=leaky"
        )


def _maxpool(cfg: Cfg, index: int, section: Section, inputs: list[Shape]) -> Shape:
    stride = section.integer("stride", 1, minimum=1)
    size = section.integer("size", stride, minimum=1)
    padding = section.integer("padding", size - 1, minimum=0)
    if padding > size - 1:
        raise section.error(f"'padding' up to size-1={size - 1}", str(padding), "Leave 'padding' out")
    channels, *lengths = inputs[0]
    height, width = (_length(section, length, padding, size, stride) for length in lengths)
    return channels, height, width


def _length(section: Section, length: int, padding: int, size: int, stride: int) -> int:
    if length + padding < size:
        raise section.error(
            f"an input of at least {size - padding} pixels", str(length), "Enlarge [net] width and height"
        )
    return (length + padding - size) // stride + 1


def _upsample(cfg: Cfg, index: int, section: Section, inputs: list[Shape]) -> Shape:
    stride = section.integer("stride", 2, minimum=1)
    section.number("scale", 1.0)
    channels, height, width = inputs[0]
    return channels, height * stride, width * stride


def _shortcut(cfg: Cfg, index: int, section: Section, inputs: list[Shape]) -> Shape:
    _check_activation(section)
    if section.options.get("weights_type", "none") != "none":
        raise section.error("no 'weights_type'", section.options["weights_type"], "Use a network without it")
    if inputs[0] != inputs[1]:
        raise section.error(
            f"two inputs of equal channels x height x width, as layer {index - 1} has {_times(inputs[0])}",
            f"{_times(inputs[1])} at from={section.options['from']}",
            "Correct 'from', or the filters and strides before it",
        )
    return inputs[0]


def _route(cfg: Cfg, index: int, section: Section, inputs: list[Shape]) -> Shape:
    if any(shape[1:] != inputs[0][1:] for shape in inputs):
        sizes = " and ".join(map(_times, inputs))
        raise section.error(
            "inputs of equal height and width",
            sizes,
            "Correct 'layers', or make [net] width and height multiples of 32",
        )
    groups, group = section.integer("groups", 1, minimum=1), section.integer("group_id", 0, minimum=0)
    if group >= groups or any(shape[0] % groups for shape in inputs):
        channels = ", ".join(str(shape[0]) for shape in inputs)
        raise section.error(
            "'groups' that divides the inputs' channels and a smaller 'group_id'",
            f"groups={groups}, group_id={group}, channels {channels}",
            "Correct them",
        )
    return sum(shape[0] // groups for shape in inputs), inputs[0][1], inputs[0][2]


def _reorg(cfg: Cfg, index: int, section: Section, inputs: list[Shape]) -> Shape:
    stride = section.integer("stride", 1, minimum=1)
    channels, height, width = inputs[0]
    if height % stride or width % stride or channels % stride**2:
        raise section.error(
            f"a height and width that stride={stride} divides, and channels that {stride**2} divides",
            _times(inputs[0]),
            "Correct the layers before it, or make [net] width and height multiples of 32",
        )
    return channels * stride**2, height // stride, width // stride


def _head(cfg: Cfg, index: int, section: Section, inputs: list[Shape]) -> Shape:
    before = cfg.layers[index - 1] if index else None
    if before is None or before.type != "convolutional" or activation_of(before) != "linear":
        found = "the input" if before is None else f"[{before.type}] {before.options.get('activation', '')}".strip()
        raise section.error("a [convolutional] with activation=linear before it", found, "Add the head convolution")
    if before.integer("batch_normalize", 0):
        raise before.error("a head without batch_normalize", "batch_normalize=1", "Leave it out")
    if "tree" in section.options:
        raise section.error("no class tree", f"tree={section.options['tree']}", "Use a network without it")
    if section.number("scale_x_y", 1.0) <= 0:
        raise section.error("'scale_x_y' above 0", section.options["scale_x_y"], "Correct it, or leave it out")
    anchors, classes = len(head_anchors(section)), section.integer("classes", 20, minimum=1)
    if classes != cfg.classes:
        raise section.error(f"classes={cfg.classes} as the first head has", f"classes={classes}", "Make them agree")
    section.integer("softmax", 0)
    if inputs[0][0] != anchors * (5 + classes):
        raise before.error(
            f"filters={anchors * (5 + classes)} = {anchors} anchors x (5 + {classes} classes) before the "
            f"[{section.type}] of line {section.line}",
            f"filters={inputs[0][0]}",
            "Correct 'filters', or the head's classes and anchors",
        )
    for whole, part in zip(cfg.input_hw, inputs[0][1:]):
        if whole % part or cfg.input_hw[0] // inputs[0][1] != whole // part:
            raise section.error(
                "a head grid that divides the input in squares",
                f"{inputs[0][1]} x {inputs[0][2]} for {cfg.input_hw[0]} x {cfg.input_hw[1]}",
                "Make [net] width and height multiples of 32",
            )
    return inputs[0]


_CHECKED_SHAPE = {
    "convolutional": _convolutional,
    "maxpool": _maxpool,
    "upsample": _upsample,
    "shortcut": _shortcut,
    "route": _route,
    "reorg": _reorg,
    "yolo": _head,
    "region": _head,
}


def _times(shape: Shape) -> str:
    return " x ".join(map(str, shape))
