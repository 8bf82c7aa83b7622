"""From a trained network and a wish to a smaller network that was checked."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from compress.darknet.cost import dpu_layers, gmacs, parameter_count
from compress.darknet.network import DarknetNetwork
from compress.pruning.blocks import Block
from compress.pruning.checks import check_images, compare_compact, measure_folding
from compress.pruning.layer_rows import layer_rows
from compress.pruning.options import PruneOptions, Selection
from compress.pruning.reconstruction import reconstructed
from compress.pruning.report import PruneReport
from compress.pruning.selection import select, selected_cfg
from compress.pruning.shortfall import held_by, removed_share
from compress.pruning.surgery import compact, silenced


@dataclass(frozen=True)
class PruneResult:
    """The small network in evaluation mode, its report, and what was kept and removed."""

    network: DarknetNetwork
    report: PruneReport
    selection: Selection

    @property
    def removed_blocks(self) -> tuple[Block, ...]:
        """In the unpruned cfg's indices."""
        return self.selection.removed_blocks


def prune(
    network: DarknetNetwork, options: PruneOptions, pictures: Callable[[], Iterable[Tensor]] | None = None
) -> PruneResult:
    """Cut channels and blocks out of a copy; the network is not changed.

    Args:
        network: in evaluation mode.
        options: what is asked for.
        pictures: batches, float32 (N, 3, H, W) in 0..1, over which channels are chosen where the options ask for it,
            and what stays learns to tell what goes, where that is at work (compress.pruning.reconstruction); None: only
            constants are carried on.
    Raises:
        InputError: the cfg has not so many blocks, or a target is out of reach.
        RoadslimError: the small network does not equal the masked one.
    """
    from dpu.latency import predict

    started = time.monotonic()
    selection = select(network, options, pictures)
    with _one_thread():
        gammas = _Gammas(network, selection)
        masked = silenced(network, selection)
        small = compact(masked, selection)
        images = check_images(network.cfg).to(next(network.parameters()).device)
        folding = measure_folding(small, silenced(network, selection, fold=False), images)
    if pictures is not None and gammas.removed_share:
        masked = silenced(reconstructed(network, selection, pictures()), selection)
        small = compact(masked, selection)
    with _one_thread():
        check = compare_compact(small, masked, images)
    predictions = [predict(dpu_layers(each.cfg), options.board) for each in (network, small)]
    rows = layer_rows(network, small, selected_cfg(network.cfg, selection)[1], predictions)
    normalised = [row for row in rows if _has_gammas(network, row.layer)]
    removed = removed_share(network.cfg, selection)
    report = PruneReport(
        params_before=parameter_count(network.cfg),
        params_after=parameter_count(small.cfg),
        gmacs_before=gmacs(network.cfg),
        gmacs_after=gmacs(small.cfg),
        predicted_dpu_ms_before=predictions[0].dpu_ms,
        predicted_dpu_ms_after=predictions[1].dpu_ms,
        board=options.board,
        channels_before=sum(row.channels_before for row in normalised),
        channels_after=sum(row.channels_after for row in normalised),
        zero_gammas_before=gammas.zeros,
        gamma_removed_share=gammas.removed_share,
        blocks_removed=len(selection.removed_blocks),
        removed_shortcuts=tuple(block.shortcut for block in selection.removed_blocks),
        compact_vs_masked_max_abs=check.max_abs,
        compact_vs_masked_precision=check.precision,
        compact_vs_masked_max_abs_float32=check.max_abs_float32,
        folding_error_inside=folding.inside,
        folding_error_border=folding.border,
        seconds=round(time.monotonic() - started, 3),
        layers=rows,
        channels_asked_share=None if options.has_target else options.channels,
        channels_removed_share=removed,
        channels_held_by=held_by(options, removed),
        importance=options.importance,
    )
    return PruneResult(small, report, selection)


class _Gammas:
    """How many BN scales are zero, and which share of their sum of magnitudes a selection takes away.

    Of a removed block only the second convolution counts: with its gammas at 0 the first one reaches nothing.
    """

    def __init__(self, network: DarknetNetwork, selection: Selection) -> None:
        unreached = {block.first_conv for block in selection.removed_blocks}
        self.zeros, total, removed = 0, 0.0, 0.0
        for conv, kept in selection.kept.items():
            if not _has_gammas(network, conv):
                continue
            gamma = network.batch_norm(conv).weight.detach().double().abs().cpu()
            self.zeros += int((gamma == 0).sum())
            if conv not in unreached:
                total += float(gamma.sum())
                removed += float(gamma[~torch.from_numpy(kept)].sum())
        self.removed_share = removed / total if total else 0.0


def _has_gammas(network: DarknetNetwork, layer: int) -> bool:
    return getattr(network.layers[layer], "bn", None) is not None


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Small maps gain a tenth of a second from a second thread, and lose seconds where its core is at work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
