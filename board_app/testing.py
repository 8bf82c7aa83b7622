"""A fake DPU: modules `xir` and `vart` with a network that sees coloured squares.

For tests of the application where the real modules and the software DPU are absent. It behaves as the facts about
AMD's modules say: tensors sorted by name, runs synchronous under one lock per core, buffers int8 and contiguous.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from board_app.core.bundle import Bundle, DetectorSpec, HeadSpec, load_bundle, write_bundle
from board_app.core.detector_json import spec_fields_of

FIX_POINT = 3
OFF = -80  # raw -10: a score of 5e-5
ON = 48  # raw 6: a score of 0.9975
SQUARES = DetectorSpec(
    name="squares",
    classes=("red", "blue"),
    input_hw=(64, 64),
    heads=(
        HeadSpec("head_b", 32, ((40.0, 40.0),), FIX_POINT),
        HeadSpec("head_a", 16, ((16.0, 16.0), (30.0, 10.0)), FIX_POINT),
    ),
    input_tensor="picture",
    input_fix_point=6,
)
"""A spec for the fake network; its heads are not in the order of their names, as VART sorts them."""


def write_squares_bundle(path: Path, spec: DetectorSpec = SQUARES) -> Bundle:
    """A bundle whose model only the fake DPU runs."""
    fields = spec_fields_of(spec)
    write_bundle(path, fields, b"fake model", [f"{name} square" for name in spec.classes])
    return load_bundle(path)


def square_heads(picture: np.ndarray, spec: DetectorSpec) -> Dict[str, np.ndarray]:
    """The heads (1, h, w, A*(5+C)) int8 of an int8 RGB picture (H, W, 3).

    The first anchor of the finest head fires where a cell's middle is red (class 0) or blue (class 1).
    """
    heads = {}
    finest = min(spec.heads, key=lambda head: head.stride)
    for head in spec.heads:
        height, width = (side // head.stride for side in spec.input_hw)
        cells = np.full((1, height, width, len(head.anchors), 5 + len(spec.classes)), OFF, np.int8)
        cells[..., :4] = 0
        if head is finest:
            middle = picture[head.stride // 2 :: head.stride, head.stride // 2 :: head.stride].astype(int)
            bright = 50 * 2 ** (spec.input_fix_point - 6)
            for class_id, channel in enumerate((0, 2)):
                seen = (middle[..., channel] > bright) & (middle.sum(-1) < 1.5 * bright)
                cells[0, seen, 0, 4] = ON
                cells[0, seen, 0, 5 + class_id] = ON
        heads[head.output] = cells.reshape(1, height, width, -1)
    return heads


class _Attributed:
    def __init__(self, **attributes: Any) -> None:
        self._attributes = attributes

    def has_attr(self, name: str) -> bool:
        return name in self._attributes

    def get_attr(self, name: str) -> Any:
        return self._attributes[name]


class FakeTensor(_Attributed):
    """A tensor as xir shows it."""

    def __init__(self, name: str, dims: Sequence[int], fix_point: int) -> None:
        super().__init__(fix_point=fix_point, bit_width=8, if_signed=True, round_mode="DPU_ROUND")
        self.name, self.dims, self.dtype, self.ndim = name, list(dims), "xint8", len(dims)


class FakeSubgraph(_Attributed):
    """A leaf on a device, or a root with children."""

    def __init__(self, name: str, children: Sequence["FakeSubgraph"] = (), **attributes: Any) -> None:
        super().__init__(**attributes)
        self._name, self._children = name, list(children)
        self.is_leaf = not children

    def get_name(self) -> str:
        return self._name

    def toposort_child_subgraph(self) -> List["FakeSubgraph"]:
        return self._children


class FakeDpu:
    """A DPU with its modules.

    Args:
        spec: the tensors that its model has.
        run_s: how long one run holds its core.
        cores: runs at once.
        devices: of the root's children, to be wrong on purpose.
        fail_at: the run of this number (from 0) ends with status -1.
    """

    def __init__(
        self,
        spec: DetectorSpec = SQUARES,
        run_s: float = 0.0,
        cores: int = 2,
        devices: Sequence[str] = ("USER", "DPU"),
        fail_at: Optional[int] = None,
    ) -> None:
        self.spec, self.run_s, self.fail_at = spec, run_s, fail_at
        self.runs = 0
        self.most_at_once = 0
        self._running = 0
        self._runners = 0
        self._cores = [threading.Lock() for _ in range(cores)]
        self._lock = threading.Lock()
        self.xir, self.vart = ModuleType("xir"), ModuleType("vart")
        root = FakeSubgraph("root", [FakeSubgraph(f"subgraph_{d}", device=d) for d in devices])
        self.xir.Graph = _graph_class(root)  # type: ignore[attr-defined]
        self.vart.Runner = _runner_class(self)  # type: ignore[attr-defined]

    def next_core(self) -> threading.Lock:
        """Cores are given to runners in turn."""
        with self._lock:
            self._runners += 1
            return self._cores[(self._runners - 1) % len(self._cores)]

    def execute(self, core: threading.Lock, picture: np.ndarray) -> Tuple[Dict[str, np.ndarray], int]:
        """Heads and status of one run, which holds the core for its time."""
        with core:
            with self._lock:
                number = self.runs
                self.runs += 1
                self._running += 1
                self.most_at_once = max(self.most_at_once, self._running)
            time.sleep(self.run_s)
            with self._lock:
                self._running -= 1
            return square_heads(picture, self.spec), -1 if number == self.fail_at else 0


def _graph_class(root: FakeSubgraph) -> type:
    class Graph:
        """xir.Graph."""

        @staticmethod
        def deserialize(path: str) -> "Graph":
            if not Path(path).is_file():
                raise RuntimeError(f"no such file {path}")
            return Graph()

        def get_root_subgraph(self) -> FakeSubgraph:
            return root

    return Graph


def _runner_class(dpu: FakeDpu) -> type:
    class Runner:
        """vart.Runner."""

        @staticmethod
        def create_runner(subgraph: FakeSubgraph, mode: str) -> "Runner":
            if mode != "run" or subgraph.get_attr("device") != "DPU":
                raise RuntimeError("the real process would abort here")
            return Runner()

        def __init__(self) -> None:
            self._core = dpu.next_core()
            self._last: Optional[Tuple[int, int]] = None

        def get_input_tensors(self) -> List[FakeTensor]:
            spec = dpu.spec
            return [FakeTensor(spec.input_tensor, [1, *spec.input_hw, 3], spec.input_fix_point)]

        def get_output_tensors(self) -> List[FakeTensor]:
            heads = square_heads(np.zeros((*dpu.spec.input_hw, 3), np.int8), dpu.spec)
            fix_points = {head.output: head.fix_point for head in dpu.spec.heads}
            return [FakeTensor(name, heads[name].shape, fix_points[name]) for name in sorted(heads)]

        def execute_async(self, inputs: List[np.ndarray], outputs: List[np.ndarray]) -> Tuple[int, int]:
            for buffer, tensor in zip(inputs + outputs, self.get_input_tensors() + self.get_output_tensors()):
                good = buffer.dtype == np.int8 and buffer.flags.c_contiguous and list(buffer.shape) == tensor.dims
                if not good:
                    raise RuntimeError(f"{tensor.name}: the real process would abort or read past the buffer")
            heads, status = dpu.execute(self._core, inputs[0][0])
            for buffer, name in zip(outputs, sorted(heads)):
                buffer[...] = heads[name]
            self._last = (1, status)
            return (1, 0)

        def wait(self, job: Tuple[int, int]) -> int:
            if not isinstance(job, tuple):
                raise TypeError("wait takes the whole tuple of execute_async")
            return 0 if self._last is None else self._last[1]

    return Runner


def write_fake_modules(folder: Path, bundle: Bundle, run_s: float = 0.0) -> None:
    """Put `xir.py` and `vart.py` into a folder for PYTHONPATH; the fake DPU runs what the bundle's spec says."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fake_dpu.py").write_text(
        "from board_app.core.bundle import load_bundle\n"
        "from board_app.testing import FakeDpu\n"
        f"DPU = FakeDpu(load_bundle({json.dumps(str(bundle.path))}).spec, {run_s!r})\n"
    )
    (folder / "xir.py").write_text("from fake_dpu import DPU\nGraph = DPU.xir.Graph\n")
    (folder / "vart.py").write_text("from fake_dpu import DPU\nRunner = DPU.vart.Runner\n")
