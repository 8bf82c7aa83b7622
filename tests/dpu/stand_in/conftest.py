"""The stand-in modules and a small model for them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dpu
from dpu import xmodel
from dpu.testing import QuantisedGraph

NAMES = ("xir", "vart", "vitis_ai_library")


def _forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in NAMES]:
        del sys.modules[name]


@pytest.fixture
def amd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """xir, vart and vitis_ai_library as a script with PYTHONPATH would import them, fresh."""
    monkeypatch.syspath_prepend(str(dpu.stand_in_path()))
    _forget()
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    _forget()


@pytest.fixture
def modules(amd: Any) -> tuple[Any, Any]:
    """xir and vart."""
    return amd.xir, amd.vart


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small quantised model with two heads, as a file."""
    rng = np.random.default_rng(0)
    net = QuantisedGraph("twoheads")
    x = net.random_conv("c1", net.data("x", (1, 16, 16, 3), 6), 8, 3, rng, 4)
    net.random_conv("z_head", x, 18, 1, rng, 3, None)
    net.random_conv("a_head", net.max_pool("p", x, 2, 2, 4), 18, 1, rng, 2, None)
    path = tmp_path / "twoheads_int.xmodel"
    xmodel.save(net.graph(), path)
    return path
