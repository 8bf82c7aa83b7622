"""Images a second in training, data loading included, beside a bare loop of the same network, in one run.

    python -m bench.training_throughput --threads 2

A row for each network: the real training (pictures from files, cached, varied as the configuration's defaults say;
AdamW, averaged weights, the checks of every step) and a bare loop (the same network and loss, forward, backward and a
step of SGD on one batch in memory, nothing else), in alternating rounds of some steps after a warm-up; the median
over the rounds of both, and their ratio. The pictures are synthetic road scenes, rendered before.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import torch

from board_app.core.road_scenes import ROAD_CLASSES, render_scene
from compress.config import AugmentConfig, TrainingConfig
from compress.darknet.cfg import Cfg
from compress.darknet.network import DarknetNetwork
from compress.darknet.topologies import yolov3_cfg, yolov3_tiny_cfg
from compress.data.dataset import Sample
from compress.training.batch import Metrics
from compress.training.heap import keep_freed_memory
from compress.training.loader import TrainingImages, load_batches
from compress.training.loss import yolo_loss
from compress.training.repeatable import repeatable
from compress.training.targets import assign
from compress.training.trainer import Training

NETWORKS = {
    "tiny-416": lambda: yolov3_tiny_cfg(len(ROAD_CLASSES), (416, 416)),
    "quarter-416": lambda: yolov3_cfg(len(ROAD_CLASSES), (416, 416), 0.25),
    "eighth-256": lambda: yolov3_cfg(len(ROAD_CLASSES), (256, 256), 0.125),
}
_WARM_UP_ROUNDS = 1


def main() -> None:
    """Measure each network and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="(all)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="of a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), metavar="N", help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="everything as JSON, rounds included")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as the stages do; it helps both
    rows = []
    for name in args.networks:
        with tempfile.TemporaryDirectory(prefix="roadslim-") as folder:
            row = measure(NETWORKS[name](), Path(folder), args.batch_size, args.steps, args.rounds)
        rows.append({"network": name, "batch_size": args.batch_size, "threads": args.threads, **row})
        if not args.json:
            print(_line(rows[-1]), flush=True)
    if args.json:
        print(json.dumps({"steps": args.steps, "rows": rows}, indent=1))


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['network']:<11} batch {row['batch_size']}, {row['threads']} thread(s): "
        f"training {row['training_images_per_s']:6.2f} images/s, bare loop {row['bare_images_per_s']:6.2f} images/s, "
        f"ratio {row['ratio']:.3f}"
    )


def measure(cfg: Cfg, folder: Path, batch_size: int, steps: int, rounds: int) -> dict[str, Any]:
    """Images a second of both, round by round, and the ratio of their medians."""
    images = TrainingImages(_scenes(folder, cfg.input_hw, batch_size * steps), cfg.input_hw, AugmentConfig(), seed=1)
    for index in range(len(images)):
        images.letterboxed(index)  # as after the first epoch of a training
    torch.manual_seed(1)
    network = DarknetNetwork(cfg)
    network.init_heads()
    bare = BareLoop(copy.deepcopy(network), images, batch_size)
    found: dict[str, list[float]] = {"training": [], "bare": []}

    def alternate(stage: str, metrics: Metrics) -> None:
        found["training"].append(metrics["images_per_s"])
        torch.use_deterministic_algorithms(False)
        found["bare"].append(bare.run(steps))
        torch.use_deterministic_algorithms(True)

    epochs = _WARM_UP_ROUNDS + rounds
    config = TrainingConfig(epochs=epochs, batch_size=batch_size, evaluate_every=epochs)
    held_out = TrainingImages(images.samples[:1], cfg.input_hw, None, 1)
    with repeatable():  # as the stages train
        Training(network, images, held_out, ROAD_CLASSES, config, folder, on_epoch=alternate).run()
    medians = {name: statistics.median(speeds[_WARM_UP_ROUNDS:]) for name, speeds in found.items()}
    return {
        **{f"{name}_images_per_s": speed for name, speed in medians.items()},
        "ratio": medians["training"] / medians["bare"],
        "rounds_images_per_s": {name: speeds[_WARM_UP_ROUNDS:] for name, speeds in found.items()},
    }


def _scenes(folder: Path, size_hw: tuple[int, int], count: int) -> list[Sample]:
    samples = []
    for seed in range(count):
        scene, path = render_scene(seed, size_hw), folder / f"{seed}.png"
        cv2.imwrite(str(path), scene.image_bgr)
        samples.append(Sample(path, scene.boxes_xyxy, scene.class_id))
    return samples


class BareLoop:
    """Forward, loss, backward and a step of SGD on the same batch again and again."""

    def __init__(self, network: DarknetNetwork, images: TrainingImages, batch_size: int) -> None:
        self._network = network.train().to(memory_format=torch.channels_last)
        self._optimiser = torch.optim.SGD(network.parameters(), lr=1e-4)
        loaded = next(load_batches(images, 0, [list(range(batch_size))]))
        self._batch = loaded.on(torch.device("cpu"))
        self._targets = assign(loaded.truths, batch_size, network.heads, loaded.size_hw)

    def run(self, steps: int) -> float:
        """Images a second over so many steps."""
        began = time.perf_counter()
        for _ in range(steps):
            self._optimiser.zero_grad(set_to_none=True)
            loss = yolo_loss(self._network(self._batch.images), self._network.heads, self._targets).total
            torch.autograd.backward(loss)
            self._optimiser.step()
        return steps * len(self._batch) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
