"""The networks that are built in."""

from __future__ import annotations

from pathlib import Path

import pytest

from board_app.core.errors import InputError
from compress.darknet.cfg import layer_shapes, parse_cfg, read_cfg
from compress.darknet.cost import parameter_count
from compress.darknet.testing_families import FAMILIES, family_cfg
from compress.darknet.topologies import with_anchors, with_classes, with_width, yolov3_cfg, yolov3_tiny_cfg


def test_yolov3_for_six_classes_is_the_published_one() -> None:
    """75 convolutions, 23 shortcuts, 3 heads, exactly 61,550,659 parameters."""
    cfg = yolov3_cfg(6, (608, 608))
    kinds = [section.type for section in cfg.layers]
    assert (kinds.count("convolutional"), kinds.count("shortcut"), kinds.count("yolo")) == (75, 23, 3)
    assert parameter_count(cfg) == 61_550_659
    heads = [shape for section, shape in zip(cfg.layers, layer_shapes(cfg), strict=True) if section.type == "yolo"]
    assert heads == [(33, 19, 19), (33, 38, 38), (33, 76, 76)]


@pytest.mark.parametrize("width", [0.5, 0.25, 0.125, 0.01])
def test_reduced_widths_keep_the_topology(width: float) -> None:
    """Every layer is there, in multiples of 8 and at least 8 channels; the heads keep theirs."""
    full, reduced = yolov3_cfg(6, (256, 256)), yolov3_cfg(6, (256, 256), width)
    assert [section.type for section in reduced.layers] == [section.type for section in full.layers]
    for wide, slim in zip(full.layers, reduced.layers, strict=True):
        if slim.options.get("batch_normalize"):
            assert int(slim.options["filters"]) == max(8, round(int(wide.options["filters"]) * width / 8) * 8)
        else:
            assert slim == wide


@pytest.mark.parametrize("name", FAMILIES)
def test_any_cfg_can_be_narrower(name: str) -> None:
    """Half the width of a family has the same sections and heads, every other layer half the filters."""
    full, half = family_cfg(name), family_cfg(name, factor=0.5)
    assert half.name == name and [section.line for section in half.layers] == [section.line for section in full.layers]
    for wide, slim in zip(full.layers, half.layers, strict=True):
        if slim.options.get("batch_normalize"):
            assert slim == wide.with_options(filters=int(wide.options["filters"]) // 2)
        else:
            assert slim == wide
    assert with_width(full, 1) is full


def test_a_depthwise_convolution_stays_one() -> None:
    """Its groups follow its channels; groups that do not divide the new widths are refused with the line."""
    conv = "[convolutional]\nfilters={}\ngroups={}\nactivation=relu\n"
    head = "[convolutional]\nfilters=6\nactivation=linear\n[yolo]\nanchors=1,1\nclasses=1\n"
    text = "[net]\nwidth=8\nheight=8\n" + conv.format(32, 1) + conv.format(32, 32) + conv.format(64, {}) + head
    narrow = with_width(parse_cfg(text.format(2), "x"), 0.5)
    assert [section.options.get("groups") for section in narrow.layers[:3]] == ["1", "16", "2"]
    assert [section.integer("filters") for section in narrow.layers[:4]] == [16, 16, 32, 6]
    with pytest.raises(InputError, match=r"line 15, .*'groups' that divides.*groups=16"):
        with_width(parse_cfg(text.format(16), "x"), 0.25)


def test_tiny_is_the_original(shared_data: Path) -> None:
    """Our YOLOv3-tiny has the layers and the parameters of its authors' cfg."""
    original = read_cfg(shared_data / "weights" / "yolov3-tiny.cfg")
    ours = yolov3_tiny_cfg(80, (416, 416))
    assert layer_shapes(ours) == layer_shapes(original)
    assert parameter_count(ours) == parameter_count(original) == 8_852_366
    assert [section.options.get("layers") for section in ours.layers] == [
        section.options.get("layers") for section in original.layers
    ]
    assert ours.layers[16].floats("anchors") == original.layers[16].floats("anchors")
    assert ours.layers[23].options["mask"] == original.layers[23].options["mask"]


def test_classes_and_anchors_can_be_changed() -> None:
    """Other classes change the heads alone, other anchors the yolo sections alone."""
    cfg = yolov3_tiny_cfg(80, (64, 96), leaky_slope=26 / 256)
    assert with_classes(cfg, 6) == yolov3_tiny_cfg(6, (64, 96), leaky_slope=26 / 256)
    anchors = [(1.5, 2.0), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12)]
    changed = with_anchors(cfg, anchors)
    assert changed == yolov3_tiny_cfg(80, (64, 96), leaky_slope=26 / 256, anchors=anchors)
    with pytest.raises(InputError, match="expected 6 anchors, found 1"):
        with_anchors(cfg, [(1, 2)])


@pytest.mark.parametrize("name", FAMILIES)
def test_any_cfg_takes_other_classes(name: str) -> None:
    """The heads of every family, [region] too, are made for another number of classes."""
    assert with_classes(family_cfg(name, 80), 6) == family_cfg(name, 6)


def test_a_size_that_does_not_halve_five_times_is_refused() -> None:
    """An input that is no multiple of 32 is told so, not built wrong."""
    with pytest.raises(InputError, match="multiples of 32"):
        yolov3_cfg(6, (100, 100))
