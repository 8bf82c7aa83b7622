"""What is left straight after a cut of live channels, with and without what stays making up for what goes.

    python -m bench.reconstruction runs/demo/train data/demo --split val

MODEL is a stage folder whose network no sparse training has prepared. A row for every share of its channels: mAP50 on
the split, float, with constants carried on alone (folded), with BN statistics estimated anew, with what stays making
up for what goes over the same training pictures (reconstructed), and with both, which is what the prune stage does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from board_app.core.errors import RoadslimError
from compress.darknet.model_files import load_folder
from compress.darknet.network import DarknetNetwork
from compress.data.dataset import Dataset, open_dataset
from compress.pruning import PruneOptions, prune
from compress.pruning.recalibration import training_batches, with_new_statistics
from compress.shares import share_argument
from compress.training.evaluation import evaluate
from compress.training.loader import TrainingImages

COLUMNS = ("folded", "statistics", "reconstructed", "both")


def rows(
    network: DarknetNetwork, training: Dataset, held_out: Dataset, shares: Sequence[float], images: int
) -> Iterator[tuple[float, int, list[float]]]:
    """For each share of the channels: the share, the parameters left, mAP50 in the order of COLUMNS.

    Args:
        network: the unpruned one.
        training, held_out: pictures to estimate from, and to measure on.
        shares: of the channels, 0 to 1.
        images: how many training pictures.
    """
    size_hw = network.cfg.input_hw
    pictures = partial(training_batches, TrainingImages(training.samples, size_hw, None, 0), images)
    measured = TrainingImages(held_out.samples, size_hw, None, 0)
    for share in shares:
        points, params = [], 0
        for seen in (None, pictures):
            result = prune(network, PruneOptions(channels=share), seen)
            params = result.report.params_after
            points.append(evaluate(result.network, network.heads, measured, held_out.classes).map50)
            settled = with_new_statistics(result, pictures()).network
            points.append(evaluate(settled, network.heads, measured, held_out.classes).map50)
        yield share, params, points


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder with model.cfg and model.weights")
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="what it was trained on")
    parser.add_argument("--split", default="val", metavar="NAME", help="to measure on (%(default)s)")
    parser.add_argument("--ignore", nargs="*", default=[], metavar="CLASS", help="classes that the network lacks")
    parser.add_argument("--images", type=int, default=256, metavar="N", help="training pictures (%(default)s)")
    shares = [0.1, 0.2, 0.3, 0.4]
    parser.add_argument(
        "--channels",
        nargs="+",
        type=share_argument,
        default=shares,
        metavar="SHARE",
        help="to cut (10 to 40%%)",
    )
    args = parser.parse_args()
    try:
        network = load_folder(args.model)
        training, held_out = (open_dataset(args.dataset, split, args.ignore) for split in ("train", args.split))
        print(f"| channels cut | parameters | {' | '.join(COLUMNS)} |\n| ---: |{' ---: |' * (1 + len(COLUMNS))}")
        for share, params, points in rows(network, training, held_out, args.channels, args.images):
            shown = " | ".join(f"{100 * point:.1f}" for point in points)
            print(f"| {100 * share:g} % | {params:,} | {shown} |", flush=True)
    except RoadslimError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
