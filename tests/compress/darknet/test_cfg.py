"""The cfg reader, its checks and its writer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_app.core.errors import InputError
from compress.darknet.cfg import cfg_text, layer_shapes, layer_sources, parse_cfg, read_cfg, write_cfg
from compress.darknet.testing import random_cfg

NET = "[net]\nwidth=32\nheight=32\n"
CONV = "[convolutional]\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=leaky\nbatch_normalize=1\n"
HALF = CONV.replace("stride=1", "stride=2")
HEAD = "[convolutional]\nfilters=14\nactivation=linear\n"
YOLO = "[yolo]\nmask=0,1\nanchors=1,2, 3,4\nnum=2\nclasses=2\n"
REGION = "[region]\nanchors=1,2, 3,4\nnum=2\nclasses=2\nsoftmax=1\n"


def test_comments_blanks_and_spaces_do_not_count() -> None:
    """What Darknet skips is skipped: comment lines, empty lines and blanks around and inside values."""
    spaced = (
        "# a comment\n[network]\n width = 32 # inline\nheight=32\n\n;another\n" + CONV + HEAD + YOLO.replace("=", " = ")
    )
    cfg = parse_cfg(spaced, "spaced.cfg")
    assert cfg.input_hw == (32, 32)
    assert cfg.classes == 2
    assert cfg.layers == parse_cfg(NET + CONV + HEAD + YOLO, "plain.cfg").layers


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read_back(seed: int) -> None:
    """Writing a cfg and reading it gives the same sections, options and order."""
    cfg = random_cfg(seed)
    again = parse_cfg(cfg_text(cfg), cfg.name)
    assert again == cfg
    assert [list(section.options) for section in again.layers] == [list(section.options) for section in cfg.layers]


def test_lines_are_those_of_the_file() -> None:
    """A section knows the line it begins at."""
    assert [section.line for section in parse_cfg(NET + CONV + HEAD + YOLO, "x").layers] == [4, 11, 14]


def test_shapes_follow_darknets_arithmetic() -> None:
    """Padding, strides, pooling beyond the edge, routes, groups and upsampling give Darknet's sizes."""
    text = NET.replace("height=32", "height=30")
    text += HALF + "[maxpool]\nsize=2\nstride=2\n" + "[maxpool]\nsize=2\nstride=1\n" + "[upsample]\nstride=2\n"
    text += "[route]\nlayers=-1,-3\n".replace("-3", "3") + "[route]\nlayers=0\ngroups=2\ngroup_id=1\n"
    cfg = parse_cfg(text, "x")
    assert layer_shapes(cfg) == [(8, 15, 16), (8, 8, 8), (8, 8, 8), (8, 16, 16), (16, 16, 16), (4, 15, 16)]
    assert layer_sources(cfg) == [(-1,), (0,), (1,), (2,), (3, 3), (0,)]


def test_slope_and_epsilon_are_read_from_net() -> None:
    """`leaky_slope` and `bn_epsilon` are keys of our own in [net], Darknet's values where they are silent."""
    assert (parse_cfg(NET + CONV, "x").leaky_slope, parse_cfg(NET + CONV, "x").bn_epsilon) == (0.1, None)
    cfg = parse_cfg(NET + "leaky_slope=0.1015625\nbn_epsilon=1e-06\n" + CONV, "x")
    assert (cfg.leaky_slope, cfg.bn_epsilon) == (26 / 256, 1e-6)


@pytest.mark.parametrize(
    ("text", "line", "expected", "found"),
    [
        ("", None, "[net]", "no section"),
        (CONV, 1, "[net]", "[convolutional]"),
        (NET + "[convolutoinal]\n", 4, "[convolutional]", "Did you mean [convolutional]?"),
        (NET + "[dropout]\n", 4, "[maxpool]", "'[dropout]'"),
        (NET + "rubbish\n", 4, "key=value", "'rubbish'"),
        ("width=32\n", 1, "[section]", "'width=32'"),
        (NET.replace("width=32", "width=no") + CONV, 1, "a whole number of at least 1 for 'width'", "'no'. Give one"),
        (NET + CONV.replace("filters=8\n", ""), 4, "'filters'", "none"),
        (NET + CONV.replace("filters=8", "filters=0"), 4, "at least 1", "'0'"),
        (NET + CONV.replace("filters=8", "filters=8,9"), 4, "a whole number of at least 1 for 'filters'", "'8,9'"),
        (NET + CONV.replace("leaky", "gelu"), 4, "leaky, linear, relu, relu6, mish, swish, logistic", "gelu"),
        (NET + CONV + "groups=2\n", 4, "'groups' that divides", "groups=2, filters=8, 3 channels"),
        (NET + CONV + "dilation=2\n", 4, "dilation=1", "dilation=2"),
        (NET + CONV.replace("normalize=1", "normalize=yes"), 4, "a whole number for 'batch_normalize'", "'yes'"),
        (NET + "[shortcut]\nfrom=-1\n", 4, "a layer before it", "none"),
        (
            NET
            + HEAD
            + YOLO
            + "[route]\nlayers=0\n"
            + HEAD.replace("14", "16")
            + YOLO.replace("classes=2", "classes=3"),
            17,
            "classes=2 as the first head has",
            "classes=3",
        ),
        (NET + CONV + "flipped=1\n", 4, "flipped=0", "flipped=1"),
        (NET + "leaky_slope=steep\n" + CONV, 1, "one number for 'leaky_slope'", "'steep'"),
        (NET + "leaky_slope=0.1,0.2\n" + CONV, 1, "one number for 'leaky_slope'", "'0.1,0.2'"),
        (NET + "bn_epsilon=0\n" + CONV, 1, "'bn_epsilon' above 0", "0"),
        (NET + CONV + CONV + "[shortcut]\nfrom=-2\nalpha=2\n", 18, "alpha=1", "alpha=2"),
        (NET + CONV + CONV + "[shortcut]\nfrom=-2\nweights_type=per_channel\n", 18, "no 'weights_type'", "per_channel"),
        (NET + CONV + "stride_x=2\n", 4, "stride", "stride_x"),
        (NET + CONV.replace("pad=1", "pad=0").replace("size=3", "size=40"), 4, "at least 40 pixels", "32"),
        (NET + CONV + HALF + "[shortcut]\nfrom=-2\n", 18, "8 x 16 x 16", "8 x 32 x 32 at from=-2"),
        (NET + CONV + CONV + "[shortcut]\nfrom=-2\nactivation=gelu\n", 18, "an activation of leaky", "gelu"),
        (NET + CONV + "[upsample]\nscale=no\n", 11, "one number for 'scale'", "'no'"),
        (NET + CONV.replace("=8", "=6") + "[reorg]\nstride=2\n", 11, "channels that 4 divides", "6 x 32 x 32"),
        (NET + CONV + "[reorg]\nstride=3\n", 11, "that stride=3 divides", "8 x 32 x 32"),
        (NET + CONV + "[reorg]\nreverse=1\n", 11, "reverse=0", "reverse=1"),
        (NET + CONV + "[shortcut]\nfrom=-2\n", 11, "from -1 to -1", "-2"),
        (NET + CONV + "[route]\nlayers=1\n", 11, "0 to 0", "1"),
        (NET + CONV + HALF + "[route]\nlayers=-1,0\n", 18, "equal height and width", "8 x 16 x 16 and 8 x 32 x 32"),
        (NET + CONV + "[route]\nlayers=-1\ngroups=3\n", 11, "divides", "groups=3"),
        (NET + CONV + "[maxpool]\nsize=2\npadding=2\n", 11, "up to size-1=1", "2"),
        (NET + HEAD.replace("14", "15") + YOLO, 4, "filters=14 = 2 anchors x (5 + 2 classes)", "filters=15"),
        (NET + CONV + YOLO, 11, "activation=linear before it", "leaky"),
        (NET + HEAD + "batch_normalize=1\n" + YOLO, 4, "without batch_normalize", "batch_normalize=1"),
        (NET + HEAD + YOLO.replace("num=2", "num=3"), 7, "6 numbers in 'anchors'", "4"),
        (NET + HEAD + YOLO.replace("mask=0,1", "mask=1,2"), 7, "below num=2", "1,2"),
        (NET + HEAD + YOLO + "new_coords=1\n", 7, "new_coords=0", "1"),
        (NET + HEAD + YOLO + "scale_x_y=0\n", 7, "'scale_x_y' above 0", "0"),
        (NET + HEAD + YOLO + "scale_x_y=nan\n", 7, "one number for 'scale_x_y'", "'nan'"),
        (NET + HEAD + YOLO.replace("3,4", "3,-4"), 7, "anchors above 0", "-4"),
        (NET + HEAD + REGION.replace("num=2", "num=3"), 7, "6 numbers in 'anchors'", "4"),
        (NET + HEAD + REGION + "tree=a.tree\n", 7, "no class tree", "tree=a.tree"),
        (NET + HEAD + REGION + "[maxpool]\n", 12, "not a [region]", "layer 1"),
        (NET + HEAD + YOLO + CONV, 12, "not a [yolo]", "layer 1"),
        (NET.replace("32", "30") + HALF + HALF + HEAD + YOLO, 21, "divides the input", "8 x 8 for 30 x 30"),
    ],
)
def test_a_wrong_cfg_is_named_with_its_line(text: str, line: int | None, expected: str, found: str) -> None:
    """Every wrong cfg gives an InputError with the file, the line, what was expected and what was found."""
    with pytest.raises(InputError) as caught:
        parse_cfg(text, "bad.cfg")
    message = str(caught.value)
    assert message.startswith("bad.cfg")
    assert expected in message and found in message and message.rstrip().endswith((".", "?"))
    if line is not None and "first section" not in message:
        assert f"line {line}" in message


def test_a_binary_file_is_no_cfg(tmp_path: Path) -> None:
    """Naming the weights where the cfg belongs is said so."""
    path = tmp_path / "model.weights"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="text file"):
        read_cfg(path)


def test_a_cfg_file_carries_its_name(tmp_path: Path) -> None:
    """A cfg read from a file is called what the file is called."""
    write_cfg(random_cfg(1), tmp_path / "road.cfg")
    assert read_cfg(tmp_path / "road.cfg").name == "road.cfg"


def test_a_cfg_without_yolo_has_no_classes() -> None:
    """Asking a backbone for its classes says what is missing."""
    with pytest.raises(InputError, match=r"expected a \[yolo\] or \[region\]"):
        _ = parse_cfg(NET + CONV, "x").classes
