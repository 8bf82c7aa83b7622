"""compress.pruning.selection_file: what a cut kept, as JSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from board_app.core.errors import InputError
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import randomise
from compress.darknet.topologies import yolov3_cfg, yolov3_tiny_cfg
from compress.pruning import PruneOptions, select
from compress.pruning.options import Selection
from compress.pruning.selection_file import read_selection, write_selection

CFG = yolov3_cfg(2, (32, 32), 0.125)


@pytest.fixture
def wanted() -> Selection:
    """Of a cut with blocks."""
    return select(randomise(DarknetNetwork(CFG)).eval(), PruneOptions(channels=0.5, blocks=3))


@pytest.fixture
def path(wanted: Selection, tmp_path: Path) -> Path:
    """Its file."""
    write_selection(wanted, tmp_path / "kept.json")
    return tmp_path / "kept.json"


def test_it_comes_back(wanted: Selection, path: Path) -> None:
    """Blocks and channels, also of convolutions of which none stayed."""
    found = read_selection(path, CFG)
    assert found.removed_blocks == wanted.removed_blocks and found.kept.keys() == wanted.kept.keys()
    assert all(np.array_equal(found.kept[conv], kept) for conv, kept in wanted.kept.items())


@pytest.mark.parametrize("wrong", ["no file", "another cfg", "half of it", "a channel too many"])
def test_what_is_not_of_the_network_is_refused(wrong: str, path: Path) -> None:
    """It names the file and says what to do."""
    cfg, text = CFG, path.read_text()
    if wrong == "no file":
        path.unlink()
    elif wrong == "another cfg":
        cfg = yolov3_tiny_cfg(2, (32, 32), 0.125)
    elif wrong == "half of it":
        path.write_text(text[: len(text) // 2])
    else:
        path.write_text(text.replace('"0": [', '"0": [99999, '))
    with pytest.raises(InputError, match="kept.json: expected the channels that are left .* Cut it again"):
        read_selection(path, cfg)
