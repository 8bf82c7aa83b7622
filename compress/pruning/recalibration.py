"""BN statistics estimated anew on some pictures, for a network whose own no longer fit.

Whoever cuts live channels, or averages weights, moves what reaches every batch normalisation after it. Sources: Li et
al., AdaBN, arXiv:1603.04779; Li et al., EagleEye, arXiv:2007.02491, which judges cuts only after this.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from compress.pruning.pruner import PruneResult
from compress.quantization.calibration_images import CalibrationImages
from compress.training.loader import TrainingImages, to_input

log = logging.getLogger(__name__)
_BATCH = 32  # pictures, of 416x416: fewer of larger ones, for the memory's sake, but
_BATCH_PIXELS = _BATCH * 416 * 416
_SMALLEST_BATCH = 8  # within a batch pictures differ less than in the whole set, the less the smaller it is


def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> int:
    """Give every batch normalisation the mean and variance of these pictures, in place; gives how many there were.

    The network is in evaluation mode afterwards.

    Args:
        batches: float32 (N, 3, H, W) in 0..1; each counts alike.
    """
    pictures = 0

    def counted() -> Iterator[Tensor]:
        nonlocal pictures
        for batch in batches:
            pictures += len(batch)
            yield batch

    update_bn(counted(), network, device=next(network.parameters()).device)
    network.eval()
    return pictures


def with_new_statistics(result: PruneResult, batches: Iterable[Tensor]) -> PruneResult:
    """The cut network recalibrated, in place, and the report that says so.

    Where nothing live was cut, nothing shifted: the statistics are kept, and the log says so.
    """
    if result.report.cut_nothing_live:
        log.info("BN statistics kept: nothing at work was cut, so they fit as they are")
        return result
    pictures = recalibrate(result.network, batches)
    return replace(result, report=replace(result.report, recalibration_images=pictures))


def training_batches(images: TrainingImages, count: int) -> Iterator[Tensor]:
    """Batches of `count` pictures from all over the set, or of all where there are fewer; not varied."""
    chosen = images.spread(count)
    pixels = (torch.from_numpy(images.letterboxed(index)[0]).permute(2, 0, 1) for index in chosen)
    return _batches((to_input(image) for image in pixels), len(chosen), images.input_hw)


def folder_batches(folder: Path, input_hw: tuple[int, int]) -> Iterator[Tensor]:
    """Batches of all images of a folder, letterboxed; raises InputError at one that is no image."""
    images = CalibrationImages(folder, input_hw, batch_size=1)
    return _batches((batch[0] for batch in images), len(images), input_hw)


def _batches(images: Iterator[Tensor], count: int, input_hw: tuple[int, int]) -> Iterator[Tensor]:
    """The images (3, H, W) in batches of equal size, to within one image."""
    largest = min(_BATCH, max(_SMALLEST_BATCH, _BATCH_PIXELS // (input_hw[0] * input_hw[1])))
    batches = -(-count // largest)
    for batch in range(batches):
        size = (batch + 1) * count // batches - batch * count // batches
        yield torch.stack(list(islice(images, size)))
