"""What a pruning did, in numbers: the document prune.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from compress.darknet.cfg import Cfg
from compress.pruning.options import Selection


@dataclass(frozen=True)
class PruneReport:
    """The fields of prune.json.

    Attributes:
        params_before, params_after: trained numbers.
        gmacs_before, gmacs_after: 1e9 multiply-accumulates an image.
        predicted_dpu_ms_before, predicted_dpu_ms_after: by the latency model, on one core of `board`'s DPU.
        channels_before, channels_after: of all convolutions with batch normalisation.
        blocks_removed: how many, and removed_shortcuts: which, as layers of the unpruned cfg.
        compact_vs_masked_max_abs: against the full-size network with the removed channels' constants folded and then
            silenced; compact_vs_masked_precision says in which arithmetic, and ..._float32 what it is in float32.
        folding_error_inside, folding_error_border: against the full-size network with gamma = 0 and beta left, mean
            error as a share of the outputs' standard deviation; None where there is no inside.
        seconds: the whole pruning took.
        layers: for every convolution of the unpruned cfg `layer`, `size`, `channels_before`, `channels_after`.
    """

    params_before: int
    params_after: int
    gmacs_before: float
    gmacs_after: float
    predicted_dpu_ms_before: float
    predicted_dpu_ms_after: float
    board: str
    channels_before: int
    channels_after: int
    blocks_removed: int
    removed_shortcuts: tuple[int, ...]
    compact_vs_masked_max_abs: float
    compact_vs_masked_precision: str
    compact_vs_masked_max_abs_float32: float
    folding_error_inside: float | None
    folding_error_border: float
    seconds: float
    layers: tuple[dict[str, Any], ...]

    def document(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        from roadslim import roadslim_version

        return {"schema_version": 1, "roadslim_version": roadslim_version(), **asdict(self)}

    def to_json(self) -> str:
        """The document as text."""
        return json.dumps(self.document(), indent=1)

    @classmethod
    def from_json(cls, text: str) -> PruneReport:
        """What `to_json` gave."""
        document = json.loads(text)
        values = {field.name: document[field.name] for field in fields(cls)}
        values |= {name: tuple(document[name]) for name in ("removed_shortcuts", "layers")}
        return cls(**values)

    def summary(self) -> str:
        """Some lines for a reader."""
        inside = "none" if self.folding_error_inside is None else f"{self.folding_error_inside:.4f}"
        return "\n".join(
            [
                _line("parameters", self.params_before, self.params_after, ",d"),
                _line("GMACs", self.gmacs_before, self.gmacs_after, ".3f"),
                _line(f"DPU ms ({self.board})", self.predicted_dpu_ms_before, self.predicted_dpu_ms_after, ".2f")
                + ", predicted",
                _line("channels", self.channels_before, self.channels_after, ",d"),
                f"{'blocks removed':<28} {self.blocks_removed} (shortcuts {self.removed_shortcuts or 'none'})",
                f"{'compact_vs_masked_max_abs':<28} {self.compact_vs_masked_max_abs:.2e} "
                f"({self.compact_vs_masked_precision})",
                f"{'folding error':<28} inside {inside}, border {self.folding_error_border:.4f} "
                "of the outputs' standard deviation",
            ]
        )


def layer_widths(cfg: Cfg, selection: Selection) -> tuple[dict[str, Any], ...]:
    """For every convolution its width before and after; 0 after where its block is gone."""
    return tuple(
        {
            "layer": conv,
            "size": cfg.layers[conv].integer("size", 1),
            "channels_before": len(kept),
            "channels_after": int(kept.sum()),
        }
        for conv, kept in sorted(selection.kept.items())
    )


def _line(what: str, before: float, after: float, form: str) -> str:
    return f"{what:<28} {before:{form}} -> {after:{form}} (-{100 * (1 - after / before):.1f} %)"
