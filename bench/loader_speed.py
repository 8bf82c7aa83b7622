"""What one training picture costs the loader, once decoded: milliseconds on one core, by input size and mosaic.

    python -m bench.loader_speed data/demo --size 416 416

A row for each share of mosaic: processor time a picture, in the thread that varies it, and wall time a picture through
`load_batches` with one thread; the median of five rounds over the pictures. Settings are those of the defaults.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import torch

from compress.config import AugmentConfig
from compress.data.dataset import Sample, open_dataset
from compress.training.loader import TrainingImages, load_batches

_ROUNDS, _BATCH = 5, 8


def main() -> None:
    """Decode the pictures, then time how they are varied."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="its split train")
    parser.add_argument("--size", nargs=2, type=int, default=(416, 416), metavar=("H", "W"), help="(416 416)")
    parser.add_argument("--images", type=int, default=200, metavar="N", help="of the split (%(default)s)")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    dataset = open_dataset(args.dataset, "train")
    rows = [
        {"mosaic": share, **_timed(dataset.samples[: args.images], tuple(args.size), share)} for share in (0.0, 1.0)
    ]
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"mosaic {row['mosaic']:.0%}: {row['cpu_ms']:.2f} ms a picture, {row['wall_ms']:.2f} ms through batches")


def _timed(samples: Sequence[Sample], size_hw: tuple[int, int], mosaic: float) -> dict[str, float]:
    images = TrainingImages(samples, size_hw, AugmentConfig(mosaic=mosaic), seed=1)
    for index in range(len(images)):
        images.letterboxed(index)
    batches = [list(range(first, min(first + _BATCH, len(images)))) for first in range(0, len(images), _BATCH)]

    def vary(epoch: int) -> None:
        for index in range(len(images)):
            images.item(index, epoch)

    def load(epoch: int) -> None:
        for _ in load_batches(images, epoch, batches):
            pass

    return {
        "cpu_ms": _median_ms(vary, time.thread_time) / len(images),
        "wall_ms": _median_ms(load, time.perf_counter) / len(images),
    }


def _median_ms(work: Callable[[int], None], clock: Callable[[], float]) -> float:
    times = []
    for epoch in range(_ROUNDS):
        start = clock()
        work(epoch)
        times.append(1000 * (clock() - start))
    return statistics.median(times)


if __name__ == "__main__":
    main()
