"""Checkpoints."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from board_app.core.errors import InputError
from compress.darknet.network import DarknetNetwork
from compress.darknet.topologies import with_classes
from compress.training import checkpoint
from compress.training.checkpoint import load_state, save_state


def test_what_is_saved_comes_back(network, tmp_path: Path) -> None:
    """Tensors, numbers and text; nothing where nothing was saved."""
    path = tmp_path / "checkpoint.pt"
    assert load_state(path, network) is None
    save_state(path, {"network": network.state_dict(), "rate": 0.25, "history": "[]"})
    state = load_state(path, network)
    assert state is not None and state["rate"] == 0.25 and state["history"] == "[]"
    assert all(torch.equal(value, state["network"][name]) for name, value in network.state_dict().items())


def test_another_networks_is_refused_and_kept(network, tmp_path: Path) -> None:
    """The message names the first tensor that differs and both sizes; the file is as it was."""
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"network": DarknetNetwork(with_classes(network.cfg, 2)).state_dict()})
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"conv.weight is of size \[21, .* in it and of size \[33, .*Nothing was"):
        load_state(path, network)
    assert path.read_bytes() == before


def test_another_versions_is_refused(network, tmp_path: Path) -> None:
    """A checkpoint without a format is of the version before formats."""
    path = tmp_path / "checkpoint.pt"
    torch.save({"network": network.state_dict()}, path)
    with pytest.raises(InputError, match="format 1, of another version.*remove the folder"):
        load_state(path, network)


def test_a_damaged_one_is_said(network, tmp_path: Path) -> None:
    """A file that is no checkpoint is never unpickled blindly; the message says which folder to remove."""
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="checkpoint.pt.*damaged.*remove the folder"):
        load_state(path, network)


def test_a_full_disk_leaves_the_last_one(network, tmp_path: Path, monkeypatch) -> None:
    """The error is the disk's, the file the one before."""
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"network": network.state_dict(), "epoch": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save_state(path, {"network": network.state_dict(), "epoch": 2})
    state = load_state(path, network)
    assert state is not None and state["epoch"] == 1 and checkpoint._FORMAT == state["format"]
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
