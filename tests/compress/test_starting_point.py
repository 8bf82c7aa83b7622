"""What a run starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from board_app.core.errors import InputError, UsageError
from compress.config import CompressConfig, NetworkConfig
from compress.darknet.cfg import cfg_text, layer_shapes, parse_cfg, write_cfg
from compress.darknet.testing_families import family_cfg
from compress.starting_point import check_starting_point, starting_cfg


@pytest.mark.parametrize(
    ("network", "blocks", "words"),
    [
        ({"weights": "none.weights"}, 8, "'weights' in [network]: expected a file at none.weights, found none."),
        ({"cfg": "."}, 8, "'cfg' in [network]: expected a file at ., found a folder."),
        ({}, 24, "'blocks' in [prune]: expected at most 23, as many as yolov3 has, found 24."),
        ({"topology": "yolov3-tiny"}, 1, "expected at most 0, as many as yolov3-tiny has, found 1."),
        ({"cfg": Path(__file__).with_name("small.cfg")}, 99, "small.cfg has, found 99."),
    ],
)
def test_what_cannot_end_well_is_refused_at_once(network: dict[str, Any], blocks: int, words: str) -> None:
    """Missing files, and more blocks than there are, before anything is trained."""
    with pytest.raises(UsageError) as error:
        check_starting_point(CompressConfig(name="a", data="d", network=network, prune={"blocks": blocks}))
    assert words in str(error.value)


def test_what_cannot_be_trained_is_refused_at_once(tmp_path: Path) -> None:
    """A YOLOv2 head has no loss here, and the message says what to write in its place."""
    write_cfg(family_cfg("yolov2"), tmp_path / "yolov2.cfg")
    network = {"cfg": tmp_path / "yolov2.cfg"}
    with pytest.raises(InputError, match=r"expected \[yolo\] heads"):
        check_starting_point(CompressConfig(name="a", data="d", network=network, prune={"blocks": 0}))


def test_what_the_dpu_lacks_is_told_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Mish is trained if asked, with a warning; the slope is the config's and no reason for one."""
    cfg = family_cfg("yolov4-tiny")
    mish = parse_cfg(cfg_text(cfg).replace("activation=leaky", "activation=mish", 1), "mish.cfg")
    write_cfg(mish, tmp_path / "mish.cfg")
    config = CompressConfig(name="a", data="d", network={"cfg": tmp_path / "mish.cfg"}, prune={"blocks": 0})
    check_starting_point(config)
    assert [message.split(":")[1] for message in caplog.messages] == [
        " the DPU has no mish. Train with activation=leaky (or relu).",
    ]


def test_any_cfg_takes_a_width(tmp_path: Path) -> None:
    """`width` narrows a cfg from a file as it does our own."""
    write_cfg(family_cfg("yolov3-tiny"), tmp_path / "tiny.cfg")
    asked = {"width": 0.25, "input_hw": (96, 64), "leaky_slope": 0.1}
    narrow = starting_cfg(NetworkConfig(cfg=tmp_path / "tiny.cfg", **asked), classes=6)
    ours = starting_cfg(NetworkConfig(topology="yolov3-tiny", **asked), classes=6)
    assert layer_shapes(narrow) == layer_shapes(ours) and narrow.input_hw == (96, 64)


def test_all_blocks_may_go() -> None:
    """As many as there are is not too many."""
    check_starting_point(CompressConfig(name="a", data="d", prune={"blocks": 23}))


def test_every_missing_file_is_named_at_once() -> None:
    """Of the network, of given networks and of the teacher."""
    config = CompressConfig(
        name="a",
        data="d",
        network={"cfg": "none.cfg", "weights": "none.weights"},
        given={"train": "nowhere", "prune": ["none.cfg", "none.weights"]},
        distill={"teacher": "nowhere"},
    )
    with pytest.raises(UsageError) as error:
        check_starting_point(config)
    lines = str(error.value).splitlines()
    assert len(lines) == 6 and all("expected" in line and "found no" in line for line in lines)
    assert [line.split(" in [")[1].split("]")[0] for line in lines] == ["network"] * 2 + ["given"] * 3 + ["distill"]


def test_there_must_be_weights_to_go_back_to(tmp_path: Path) -> None:
    """And the cut must be one of this run; every reason against it at once."""
    (tmp_path / "model.cfg").touch()
    config = CompressConfig(
        name="a", data="d", prune={"rounds": 2}, given={"prune": tmp_path}, distill={"rewind": True}
    )
    with pytest.raises(UsageError) as error:
        check_starting_point(config)
    assert str(error.value).splitlines() == [
        "'rewind' in [distill]: expected weights in [network] to go back to, found none. Name them, or leave 'rewind' "
        "out",
        "'rewind' in [distill]: expected one cut, found 2 rounds in [prune]. Take one, or leave 'rewind' out",
        "'rewind' in [distill]: expected a cut by this run, which knows the channels, found a pruned network that is "
        "given. Give the network that was cut, as 'sparsify' or 'train' in [given], or leave 'rewind' out",
    ]


def test_a_preference_needs_something_to_choose_from() -> None:
    """A search may say how much stays; milliseconds alone leave no choice, but channels to be chosen."""
    prune = {"prefer": "accuracy", "blocks": 0}
    with pytest.raises(UsageError, match=r"'prefer' in \[prune\]: expected target_params or target_gmacs"):
        check_starting_point(CompressConfig(name="a", data="d", prune={**prune, "target_ms": 1.0}))
    chosen = {"importance": "reconstruction", "blocks": 0}
    with pytest.raises(UsageError, match=r"'importance' in \[prune\]: expected a target beside reconstruction"):
        check_starting_point(CompressConfig(name="a", data="d", prune=chosen))
    distill = {"teacher": "sparsify"}
    with pytest.raises(
        UsageError, match=r"'teacher' in \[distill\]: expected train or a network, as nothing is trained"
    ):
        check_starting_point(CompressConfig(name="a", data="d", prune={**chosen, "target_ms": 1.0}, distill=distill))
    for wanted in (
        {"prune": {**prune, "target_gmacs": 1.0}},
        {"prune": prune, "search": {"target_params": [1, 2]}},
        {"prune": {**chosen, "target_ms": 1.0}},
        {"prune": chosen, "search": {"target_ms": [1, 2]}},
    ):
        check_starting_point(CompressConfig(name="a", data="d", **wanted))
