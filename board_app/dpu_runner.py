"""The one place that knows `xir` and `vart`: a bundle's model on the DPU, through AMD's Python API.

The stand-ins of `roadslim` for these modules are put in front by PYTHONPATH; nothing here can tell them apart.
Source: Xilinx/Vitis-AI 3.0, src/vai_runtime/vart/runner/python/runner_py_module.cpp and examples/vai_runtime.
"""

from __future__ import annotations

from contextlib import contextmanager
from types import ModuleType
from typing import Any, Iterator, List, Sequence, Tuple

import numpy as np

from board_app.core.bundle import Bundle, DetectorSpec
from board_app.core.errors import RunnerError


def _vart_modules() -> Tuple[ModuleType, ModuleType]:
    try:
        import vart
        import xir
    except ImportError as error:
        raise RunnerError(
            f"expected the Python modules xir and vart of Vitis AI, found none ({error}). On a board use the official "
            "image's python3; on any other machine start the application with `roadslim live`."
        ) from None
    return xir, vart


@contextmanager
def _told_by_the_runtime(expected: str, remedy: str) -> Iterator[None]:
    """Turn what xir and vart raise (RuntimeError, as their binding makes of every C++ exception) into our error."""
    try:
        yield
    except RuntimeError as error:
        raise RunnerError(f"expected {expected}, found: {error} {remedy}") from error


def _dpu_subgraph(graph: Any, bundle: Bundle) -> Any:
    """The one DPU subgraph, found as AMD's examples do."""
    root = graph.get_root_subgraph()
    children = [] if root.is_leaf else root.toposort_child_subgraph()
    found = [s for s in children if s.has_attr("device") and s.get_attr("device").upper() == "DPU"]
    if len(found) != 1:
        advice = (
            "The model is quantised, not compiled. Compile it on the host: roadslim compile BUNDLE"
            if not found
            else "An operator between them falls to the CPU: roadslim xmodel show names it."
        )
        raise RunnerError(f"{bundle.model_path}: expected one DPU subgraph, found {len(found)}. {advice}")
    return found[0]


def _fix_point(tensor: Any) -> object:
    return tensor.get_attr("fix_point") if tensor.has_attr("fix_point") else "no fix point"


def _described(tensor: Any) -> str:
    return f"{tensor.name} {list(tensor.dims)} {tensor.dtype} fix point {_fix_point(tensor)}"


def _differences(spec: DetectorSpec, inputs: Sequence[Any], outputs: Sequence[Any]) -> List[str]:
    """Every way in which the model's tensors are not those of detector.json."""
    height, width = spec.input_hw
    expected = {spec.input_tensor: ("input", [1, height, width, 3], spec.input_fix_point)}
    for head in spec.heads:
        channels = len(head.anchors) * (5 + len(spec.classes))
        dims = [1, height // head.stride, width // head.stride, channels]
        expected[head.output] = ("output", dims, head.fix_point)
    found = {tensor.name: ("input", tensor) for tensor in inputs}
    found.update({tensor.name: ("output", tensor) for tensor in outputs})
    wrong = []
    for name, (role, dims, fix_point) in expected.items():
        if name not in found or found[name][0] != role:
            wrong.append(f"{role} {name} is not in the model")
            continue
        tensor = found[name][1]
        if list(tensor.dims) != dims or str(tensor.dtype) not in ("xint8", "int8") or _fix_point(tensor) != fix_point:
            wrong.append(f"{role} {name} {dims} xint8 fix point {fix_point}, but the model has {_described(tensor)}")
    wrong += [
        f"the model's {role} {name} is not in detector.json"
        for name, (role, _) in found.items()
        if name not in expected
    ]
    return wrong


class DpuRunner:
    """Runs the network on the DPU. Not thread-safe: one runner per thread.

    Attributes:
        origin: of its times, as the module `vart` says; the real one says nothing, and they are measured.
    """

    def __init__(self, runner: Any, spec: DetectorSpec, graph: Any, origin: str) -> None:
        self.origin = origin
        self._runner = runner
        self._graph = graph  # the runner points into it, so it must live as long
        outputs = runner.get_output_tensors()
        self._output_shapes = [tuple(tensor.dims) for tensor in outputs]
        position = {tensor.name: index for index, tensor in enumerate(outputs)}
        self._head_positions = [position[head.output] for head in spec.heads]

    def run(self, picture: np.ndarray) -> List[np.ndarray]:
        """The raw heads of one picture.

        Args:
            picture: int8, shape (H, W, 3), on the input's grid.
        Returns:
            int8 (h, w, A*(5+C)) per head, in the order of detector.json; fresh arrays each time.
        Raises:
            RunnerError: the DPU reports a failed run.
        """
        source = np.ascontiguousarray(picture[None])
        outputs = [np.empty(shape, np.int8) for shape in self._output_shapes]
        with _told_by_the_runtime("the DPU to run the network", "The log above may tell more."):
            job = self._runner.execute_async([source], outputs)
            status = self._runner.wait(job)
        if job[1] != 0 or status != 0:
            raise RunnerError(
                f"expected the DPU to finish the run with status 0, found {job[1]} at the start and {status} at the "
                "end. `xdputil status` shows the DPU's registers; a restart of the board clears a stuck DPU."
            )
        return [outputs[position][0] for position in self._head_positions]


def open_runners(bundle: Bundle, count: int) -> List[DpuRunner]:
    """So many runners of the bundle's model, bound by VART to the DPU's cores in turn.

    Raises:
        RunnerError: no VART here, it refuses the model, or the model is not what detector.json says.
    """
    xir, vart = _vart_modules()
    advice = f"Every reason: roadslim xmodel check {bundle.model_path}"
    with _told_by_the_runtime("a model that the DPU takes", advice):
        graph = xir.Graph.deserialize(str(bundle.model_path))
        subgraph = _dpu_subgraph(graph, bundle)
        runners = [vart.Runner.create_runner(subgraph, "run") for _ in range(count)]
    wrong = _differences(bundle.spec, runners[0].get_input_tensors(), runners[0].get_output_tensors())
    if wrong:
        raise RunnerError(
            f"{bundle.model_path}: expected the tensors of detector.json; found: {'; '.join(wrong)}. "
            "Make the bundle again from this model: roadslim compress CONFIG"
        )
    origin = str(getattr(vart, "ORIGIN", "measured"))
    return [DpuRunner(runner, bundle.spec, graph, origin) for runner in runners]
