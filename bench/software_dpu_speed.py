"""How fast the software DPU is beside ONNX Runtime float32, for the full and a pruned YOLOv3, in one run.

    python -m bench.software_dpu_speed --size 608 608

A row for each network and number of threads: median milliseconds of both, taken in alternating blocks after some
seconds of warm-up, and their ratio; further the seconds to load and lower the .xmodel, and the peak memory of a process
that does that and one run. Weights are random (gammas sparse, so that pruning has something to choose; batch
normalisation settled on a synthetic scene): speed does not depend on what the weights have learnt.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

# All of Roadslim is imported where it is used: the memory of `load_once` is to be the software DPU's alone.


def main() -> None:
    """Make the networks, then measure each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs=2, type=int, default=(608, 608), metavar=("H", "W"), help="(608 608)")
    parser.add_argument("--width", type=float, default=1.0, metavar="X", help="of YOLOv3's layers (%(default)s)")
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2), metavar="N", help="(1 2)")
    parser.add_argument("--samples", type=int, default=10, metavar="N", help="the median of so many (%(default)s)")
    parser.add_argument(
        "--warm-up",
        type=float,
        default=5.0,
        metavar="S",
        help="seconds, until an idle second core is there (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="everything as JSON, samples included")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="roadslim-") as folder:
        for network in _alone(make_networks, Path(folder), args.width, tuple(args.size)):
            stem = Path(folder) / network["network"]
            loaded = _alone(load_once, stem)
            for threads in args.threads:
                rows.append(
                    {
                        **network,
                        "threads": threads,
                        **_alone(time_both, stem, threads, args.samples, args.warm_up),
                        **loaded,
                    }
                )
                if not args.json:
                    print(_line(rows[-1]), flush=True)
    if args.json:
        print(json.dumps({"size_hw": list(args.size), "width": args.width, "rows": rows}, indent=1))


def _alone(function: Callable[..., Any], *args: Any) -> Any:
    """What a function gives in a new process, so that its memory and threads are its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['network']:<9} {row['params']:>11,} parameters {row['gmacs']:6.2f} GMACs, {row['threads']} thread(s): "
        f"software DPU {row['software_dpu_ms']:8.1f} ms, ONNX Runtime float32 {row['onnxruntime_ms']:8.1f} ms, "
        f"ratio {row['ratio']:.3f}; load and lower {row['load_and_lower_s']:.2f} s, peak {row['peak_rss_mb']:.0f} MB"
    )


def make_networks(folder: Path, width: float, size_hw: tuple[int, int]) -> list[dict[str, Any]]:
    """Write NAME.onnx and NAME.xmodel of the unpruned and the pruned network; gives names and costs."""
    import torch

    from board_app.core.road_scenes import render_scene
    from compress.darknet.cost import gmacs, parameter_count
    from compress.darknet.network import DarknetNetwork
    from compress.darknet.onnx_export import export_onnx
    from compress.darknet.topologies import yolov3_cfg
    from compress.pruning import PruneOptions, prune
    from compress.pruning.recalibration import recalibrate
    from compress.quantization import quantize
    from compress.quantization.graph_export import to_xmodel
    from dpu import xmodel

    torch.manual_seed(1)
    network = DarknetNetwork(yolov3_cfg(6, size_hw, width, leaky_slope=26 / 256))
    picture = np.ascontiguousarray(render_scene(1, size_hw).image_bgr[..., ::-1].transpose(2, 0, 1))
    images = torch.from_numpy(picture)[None].float() / 255
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.copy_(torch.rand(module.num_features) ** 4)  # many small, few large
    recalibrate(network, [images])
    pruned = prune(network, PruneOptions(channels=0.85, blocks=8)).network
    made = []
    for name, shown in (("unpruned", network), ("pruned", pruned)):
        export_onnx(shown, folder / f"{name}.onnx")
        xmodel.save(to_xmodel(quantize(shown, [images])), folder / f"{name}.xmodel")
        made.append({"network": name, "params": parameter_count(shown.cfg), "gmacs": gmacs(shown.cfg)})
    return made


def load_once(stem: Path) -> dict[str, float]:
    """Seconds to load and lower an .xmodel, and the peak memory with one run."""
    from dpu import xmodel
    from dpu.executor import Executor

    began = time.perf_counter()
    executor = Executor(xmodel.load(stem.with_suffix(".xmodel")))
    executor.prepare()
    seconds = time.perf_counter() - began
    executor.run({value.name: np.zeros(value.shape, np.int8) for value in executor.inputs})
    return {
        "load_and_lower_s": round(seconds, 3),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def time_both(stem: Path, threads: int, samples: int, warm_up_s: float) -> dict[str, Any]:
    """Median milliseconds of both, and their ratio."""
    import onnxruntime

    from bench.latency import interleaved, warm_up
    from dpu import xmodel
    from dpu.executor import Executor

    executor = Executor(xmodel.load(stem.with_suffix(".xmodel")), engine="onnxruntime", threads=threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    floats = onnxruntime.InferenceSession(stem.with_suffix(".onnx"), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    pixels = {value.name: rng.integers(0, 64, value.shape, np.int8) for value in executor.inputs}
    images = {node.name: rng.random(node.shape, np.float32) for node in floats.get_inputs()}
    sessions = {
        "software_dpu": SimpleNamespace(run=lambda: executor.run(pixels)),
        "onnxruntime": SimpleNamespace(run=lambda: floats.run(None, images)),
    }
    warm_up(sessions, warm_up_s)
    taken = interleaved(sessions, samples)
    medians = {name: statistics.median(found) for name, found in taken.items()}
    return {
        **{f"{name}_ms": median for name, median in medians.items()},
        "ratio": medians["software_dpu"] / medians["onnxruntime"],
        "samples_ms": taken,
    }


if __name__ == "__main__":
    main()
