"""What a run starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from board_app.core.errors import UsageError
from compress.config import CompressConfig
from compress.starting_point import check_starting_point


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


def test_all_blocks_may_go() -> None:
    """As many as there are is not too many."""
    check_starting_point(CompressConfig(name="a", data="d", prune={"blocks": 23}))
