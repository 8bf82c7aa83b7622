"""From a trained network and a wish to a smaller network that was checked."""

from __future__ import annotations

import time
from dataclasses import dataclass

from compress.darknet.cost import dpu_layers, gmacs, parameter_count
from compress.darknet.network import DarknetNetwork
from compress.pruning.blocks import Block
from compress.pruning.checks import check_images, compare_compact, measure_folding
from compress.pruning.options import PruneOptions, Selection
from compress.pruning.report import PruneReport, layer_widths
from compress.pruning.selection import select
from compress.pruning.surgery import compact, silenced

PREDICTED_BOARD = "zcu104"


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


def prune(network: DarknetNetwork, options: PruneOptions) -> PruneResult:
    """Cut channels and blocks out of a copy; the network is not changed.

    Raises:
        InputError: the cfg has not so many blocks, or a target is out of reach.
        RoadslimError: the small network does not equal the masked one.
    """
    started = time.monotonic()
    selection = select(network, options)
    masked = silenced(network, selection)
    small = compact(masked, selection)
    images = check_images(network.cfg).to(next(network.parameters()).device)
    check = compare_compact(small, masked, images)
    del masked
    folding = measure_folding(small, silenced(network, selection, fold=False), images)
    layers = layer_widths(network.cfg, selection)
    normalised = [row for row in layers if network.convolution(row["layer"]).bn is not None]
    report = PruneReport(
        params_before=parameter_count(network.cfg),
        params_after=parameter_count(small.cfg),
        gmacs_before=gmacs(network.cfg),
        gmacs_after=gmacs(small.cfg),
        predicted_dpu_ms_before=_predicted_ms(network),
        predicted_dpu_ms_after=_predicted_ms(small),
        board=PREDICTED_BOARD,
        channels_before=sum(row["channels_before"] for row in normalised),
        channels_after=sum(row["channels_after"] for row in normalised),
        blocks_removed=len(selection.removed_blocks),
        removed_shortcuts=tuple(block.shortcut for block in selection.removed_blocks),
        compact_vs_masked_max_abs=check.max_abs,
        compact_vs_masked_precision=check.precision,
        compact_vs_masked_max_abs_float32=check.max_abs_float32,
        folding_error_inside=folding.inside,
        folding_error_border=folding.border,
        seconds=round(time.monotonic() - started, 3),
        layers=layers,
    )
    return PruneResult(small, report, selection)


def _predicted_ms(network: DarknetNetwork) -> float:
    from dpu.latency import predict

    return predict(dpu_layers(network.cfg), PREDICTED_BOARD).dpu_ms
