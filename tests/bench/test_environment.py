"""The machine is described and nobody is named."""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path

from bench.environment import cpu_model, read_environment


def test_describes_this_machine() -> None:
    """Processor, cores and library versions are there."""
    found = read_environment()
    assert found.cpu_cores >= 1 and found.cpu_model
    assert {"torch", "onnxruntime", "numpy"} <= found.libraries.keys()


def test_names_no_host_user_or_folder() -> None:
    """The JSON has neither the host's name nor the user's nor a path."""
    values = json.dumps(list(read_environment().model_dump(mode="json").values()))
    words = values.replace('"', " ").replace(",", " ").split()
    assert socket.gethostname() not in words and getpass.getuser() not in words
    assert str(Path.home()) not in values and str(Path.cwd()) not in values


def test_reads_the_processor_name() -> None:
    """The name is the kernel's; an unnamed processor gets its architecture."""
    assert cpu_model("processor : 0\nmodel name\t: Fast 3000 @ 2GHz\nflags: x") == "Fast 3000 @ 2GHz"
    assert cpu_model("")
