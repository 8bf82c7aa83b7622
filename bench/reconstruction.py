"""What is left straight after a cut of live channels, and what each way to lose less of it brings.

    python -m bench.reconstruction runs/demo/train data/demo --split val

MODEL is a stage folder whose network no sparse training has prepared. A row for every share of its parameters has the
parameters of the last cut and mAP50 on the split, float, of four. `folded`: channels chosen by |gamma|, and constants
alone carried on. `statistics`: beside that BN statistics estimated anew over training pictures. `least squares`: beside
both, what stays makes up for what goes, over the same pictures. `explained`: all of it, with channels chosen by what
they explain there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from board_app.core.errors import RoadslimError
from compress.darknet.cost import parameter_count
from compress.darknet.model_files import load_folder
from compress.darknet.network import DarknetNetwork
from compress.data.dataset import Dataset, open_dataset
from compress.pruning import PruneOptions, prune
from compress.pruning.recalibration import training_batches, with_new_statistics
from compress.shares import share_argument
from compress.training.evaluation import evaluate
from compress.training.loader import TrainingImages

COLUMNS = ("folded", "statistics", "least squares", "explained")


def rows(
    network: DarknetNetwork, training: Dataset, held_out: Dataset, shares: Sequence[float], images: int
) -> Iterator[tuple[float, int, list[float]]]:
    """For each share of the parameters: the share, the parameters left, mAP50 in the order of COLUMNS.

    Args:
        network: the unpruned one.
        training, held_out: pictures to estimate from, and to measure on.
        shares: of the parameters that stay, 0 to 1.
        images: how many training pictures.
    """
    size_hw = network.cfg.input_hw
    pictures = partial(training_batches, TrainingImages(training.samples, size_hw, None, 0), images)
    measured = TrainingImages(held_out.samples, size_hw, None, 0)

    def map50(cut: DarknetNetwork) -> float:
        return evaluate(cut, network.heads, measured, held_out.classes).map50

    for share in shares:
        gamma = PruneOptions(target_params=int(share * parameter_count(network.cfg)), blocks=0, prefer="accuracy")
        cuts = [
            prune(network, gamma),
            prune(network, gamma, pictures),
            prune(network, replace(gamma, importance="reconstruction"), pictures),
        ]
        points = [map50(cuts[0].network)]  # first: statistics are made anew in place
        points += [map50(with_new_statistics(made, pictures()).network) for made in cuts]
        yield share, cuts[-1].report.params_after, points


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder with model.cfg and model.weights")
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="what it was trained on")
    parser.add_argument("--split", default="val", metavar="NAME", help="to measure on (%(default)s)")
    parser.add_argument("--ignore", nargs="*", default=[], metavar="CLASS", help="classes that the network lacks")
    parser.add_argument("--images", type=int, default=256, metavar="N", help="training pictures (%(default)s)")
    shares = [0.7, 0.5, 0.3, 0.15]
    parser.add_argument(
        "--params",
        nargs="+",
        type=share_argument,
        default=shares,
        metavar="SHARE",
        help="to keep (70 to 15%%)",
    )
    args = parser.parse_args()
    try:
        network = load_folder(args.model)
        training, held_out = (open_dataset(args.dataset, split, args.ignore) for split in ("train", args.split))
        print(f"| share | parameters | {' | '.join(COLUMNS)} |\n| ---: |{' ---: |' * (1 + len(COLUMNS))}")
        for share, params, points in rows(network, training, held_out, args.params, args.images):
            shown = " | ".join(f"{100 * point:.1f}" for point in points)
            print(f"| {100 * share:g} % | {params:,} | {shown} |", flush=True)
    except RoadslimError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
