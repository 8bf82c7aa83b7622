"""Which operators there are, and which tensors have a fix point of their own."""

from __future__ import annotations

import pytest

from board_app.core.errors import InputError
from compress.darknet.cfg import INPUT, Cfg, parse_cfg
from compress.quantization.plan import Plan, plan_of


def plan(text: str) -> Plan:
    """The plan of a cfg text, all of whose yolo sections follow their heads."""
    cfg: Cfg = parse_cfg(text, "net")
    return plan_of(cfg, tuple(i - 1 for i, section in enumerate(cfg.layers) if section.type == "yolo"))


def owners(found: Plan) -> dict[int, int]:
    """From layer to the layer whose fix point it is rounded to, where that is another."""
    pairs = zip(found.nodes, found.fix_point_owner, strict=True)
    return {node.layer: found.nodes[owner].layer for node, owner in pairs if owner != node.index}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny_yolo", {11: 12}),  # the upsample
        ("spp", {2: 5, 4: 5}),  # both poolings; the convolution has other readers too
        ("corners", {2: 5, 4: 5}),  # two convolutions
    ],
)
def test_tensors_without_a_fix_point(cfg_texts: dict[str, str], name: str, expected: dict[int, int]) -> None:
    """A tensor that one concatenation alone reads is rounded to the concatenation's fix point."""
    assert owners(plan(cfg_texts[name])) == expected


def test_names_follow_nndct(cfg_texts: dict[str, str]) -> None:
    """Nodes are numbered as nndct's trace does, activations counted."""
    names = [node.nndct_node for node in plan(cfg_texts["tiny_yolo"]).nodes]
    assert names[:3] == ["nndct_input_0", "nndct_leaky_relu_2", "nndct_leaky_relu_4"]
    assert names[-3:] == ["nndct_concat_17", "nndct_leaky_relu_19", "nndct_conv2d_20"]


def test_tensor_names_are_unique(cfg_texts: dict[str, str]) -> None:
    """No two nodes have the same tensor name."""
    for text in cfg_texts.values():
        names = [node.tensor for node in plan(text).nodes]
        assert len(set(names)) == len(names)


def test_pooling_looks_as_far_as_its_output_asks(cfg_texts: dict[str, str]) -> None:
    """Darknet's padding appears only where the window really leaves the picture."""
    found = plan(cfg_texts["corners"]).by_layer
    assert found[6].pad == (0, 1, 0, 1)
    assert plan(cfg_texts["tiny_yolo"]).by_layer[5].pad == (0, 0, 0, 0)
    assert plan(cfg_texts["spp"]).by_layer[4].pad == (4, 4, 4, 4)


def test_layers_that_no_head_needs_are_left_out(cfg_texts: dict[str, str]) -> None:
    """A convolution that nobody reads is no node and no reader."""
    dead = "[convolutional]\nfilters=4\nsize=1\nactivation=leaky\n[route]\nlayers=-2\n"
    text = cfg_texts["spp"].replace("[maxpool]\nsize=5", f"{dead}[maxpool]\nsize=5").replace("=1,2,-1", "=1,4,-1")
    found = plan(text)
    assert 2 not in found.by_layer
    assert [node.kind for node in found.nodes] == [node.kind for node in plan(cfg_texts["spp"]).nodes]


def test_the_input_is_a_node(cfg_texts: dict[str, str]) -> None:
    """The input is node 0 and has a fix point of its own."""
    found = plan(cfg_texts["spp"])
    assert found.nodes[0].layer == INPUT
    assert found.has_fix_point(found.nodes[0])


def test_a_part_of_a_layer_is_a_slice(cfg_texts: dict[str, str]) -> None:
    """A route with groups takes channels of its one layer; as nndct's other choosers it has a fix point of its own."""
    whole = cfg_texts["tiny_yolo"]
    halved = whole.replace("[maxpool]", "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n[maxpool]", 1)
    halved = halved.replace("layers=-1,8", "layers=-1,9")
    node = next(node for node in plan(halved).nodes if node.kind == "slice")
    source = plan(halved).nodes[node.inputs[0]]
    assert (node.begin, node.shape[0]) == (source.shape[0] // 2,) * 2
    assert node.tensor == f"strided_slice{node.layer}_fix" and plan(halved).has_fix_point(node)


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("activation=mish", "where the DPU has no mish. Train with activation=leaky"),
        ("groups=2\nactivation=leaky", "where the DPU has no convolution in 2 groups"),
    ],
)
def test_what_the_dpu_lacks_is_refused(cfg_texts: dict[str, str], new: str, words: str) -> None:
    """A layer that does not run in int8 is named with its line and what to do, in the words of the warning."""
    with pytest.raises(InputError, match=rf"line \d+: .*{words}"):
        plan(cfg_texts["tiny_yolo"].replace("activation=leaky", new, 2).replace(new, "activation=leaky", 1))


def test_what_no_head_needs_is_not_refused(cfg_texts: dict[str, str]) -> None:
    """Mish in a layer that nobody reads is no hindrance."""
    dead = "[convolutional]\nfilters=4\nsize=1\nactivation=mish\n[route]\nlayers=-2\n"
    text = cfg_texts["spp"].replace("[maxpool]\nsize=5", f"{dead}[maxpool]\nsize=5").replace("=1,2,-1", "=1,4,-1")
    assert 2 not in plan(text).by_layer
