"""What a pruning did, in numbers: the document prune.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from compress.pruning.layer_rows import LayerRow

_OF_THE_FIRST = ("params_before", "gmacs_before", "predicted_dpu_ms_before", "channels_before", "zero_gammas_before")
_LIVE_SHARE = 0.01  # of all |gamma|: who cuts more than this cuts what works
_MUCH_SLOWER = 0.6  # a time that falls by less than this share of what the parameters do is worth a word


@dataclass(frozen=True)
class PruneReport:
    """The fields of prune.json.

    Attributes:
        params_before, params_after: trained numbers.
        gmacs_before, gmacs_after: 1e9 multiply-accumulates an image.
        predicted_dpu_ms_before, predicted_dpu_ms_after: by the latency model, on one core of `board`'s DPU.
        channels_before, channels_after: of all convolutions with batch normalisation.
        zero_gammas_before: how many of these channels' gammas were exactly 0 before the cut.
        gamma_removed_share: of the sum of |gamma|, what was cut; 0 where the sparse training had zeroed all of it.
        blocks_removed: how many, and removed_shortcuts: which, as layers of the unpruned cfg.
        compact_vs_masked_max_abs: against the full-size network with the removed channels' constants folded and then
            silenced; compact_vs_masked_precision says in which arithmetic, and ..._float32 what it is in float32.
        folding_error_inside, folding_error_border: against the full-size network with gamma = 0 and beta left, mean
            error as a share of the outputs' standard deviation; None where there is no inside.
        seconds: the whole pruning took.
        layers: a row for every layer of the unpruned cfg.
        channels_asked_share: of the prunable channels without the blocks; None where a target decided.
        channels_removed_share: of the same; None where there are none. Of several cuts, what each left is multiplied.
        channels_held_by: why it is less than was asked for; None where it is not.
        importance: by what channels were chosen, "gamma" or "reconstruction".
        recalibration_images: on so many the BN statistics were estimated anew after the check; 0: they were kept.
        rounds: of a cut in several, one for each: what it came to, its mAP50 straight after the cut, with new
            statistics and tuned, and whether it was kept. The errors above are then the largest of any round.
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
    zero_gammas_before: int
    gamma_removed_share: float
    blocks_removed: int
    removed_shortcuts: tuple[int, ...]
    compact_vs_masked_max_abs: float
    compact_vs_masked_precision: str
    compact_vs_masked_max_abs_float32: float
    folding_error_inside: float | None
    folding_error_border: float
    seconds: float
    layers: tuple[LayerRow, ...]
    channels_asked_share: float | None = None
    channels_removed_share: float | None = None
    channels_held_by: str | None = None
    importance: str = "gamma"
    recalibration_images: int = 0
    rounds: tuple[dict[str, Any], ...] = ()

    @property
    def cut_nothing_live(self) -> bool:
        """Whether the small network gives what the full one gave: all that went was zero, and so were its constants."""
        return self.gamma_removed_share == 0 and max(self.folding_error_inside or 0, self.folding_error_border) < 1e-6

    def followed_by(self, later: PruneReport) -> PruneReport:
        """The report of both cuts, `later` being of this one's small network."""
        left = [row for row in self.layers if not row.is_gone]
        rows = {old.layer: old.followed_by(new) for old, new in zip(left, later.layers, strict=True)}
        old_layer = {new.layer: old.layer for old, new in zip(left, later.layers, strict=True)}
        shortcuts = (*self.removed_shortcuts, *(old_layer[layer] for layer in later.removed_shortcuts))
        insides = [report.folding_error_inside for report in (self, later) if report.folding_error_inside is not None]
        worse = max(self, later, key=lambda report: report.compact_vs_masked_max_abs)
        first = {name: getattr(self, name) for name in _OF_THE_FIRST}
        return replace(
            later,
            **first,
            gamma_removed_share=max(self.gamma_removed_share, later.gamma_removed_share),
            channels_asked_share=_of_both(self.channels_asked_share, later.channels_asked_share),
            channels_removed_share=_of_both(self.channels_removed_share, later.channels_removed_share),
            channels_held_by=later.channels_held_by or self.channels_held_by,
            blocks_removed=len(shortcuts),
            removed_shortcuts=tuple(sorted(shortcuts)),
            compact_vs_masked_max_abs=worse.compact_vs_masked_max_abs,
            compact_vs_masked_precision=worse.compact_vs_masked_precision,
            compact_vs_masked_max_abs_float32=worse.compact_vs_masked_max_abs_float32,
            folding_error_inside=max(insides, default=None),
            folding_error_border=max(self.folding_error_border, later.folding_error_border),
            seconds=round(self.seconds + later.seconds, 3),
            layers=tuple(rows.get(row.layer, row) for row in self.layers),
        )

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
        values = {field.name: document[field.name] for field in fields(cls) if field.name in document}
        values["removed_shortcuts"] = tuple(document["removed_shortcuts"])
        values["rounds"] = tuple(document["rounds"])
        values["layers"] = tuple(LayerRow(**row) for row in document["layers"])
        return cls(**values)

    def summary(self) -> str:
        """Some lines for a reader: the network before the cut, what the cut did, and what to expect of it."""
        inside = "none" if self.folding_error_inside is None else f"{self.folding_error_inside:.4f}"
        zeros = f"{100 * self.zero_gammas_before / max(self.channels_before, 1):.1f} % of {self.channels_before:,}"
        lines = [
            _named("gammas at zero before", f"{zeros}; of all |gamma| {100 * self.gamma_removed_share:.1f} % was cut"),
            _line("parameters", self.params_before, self.params_after, ",d"),
            _line("GMACs", self.gmacs_before, self.gmacs_after, ".3f"),
            _line(f"DPU ms ({self.board})", self.predicted_dpu_ms_before, self.predicted_dpu_ms_after, ".2f")
            + ", predicted",
            _line("channels", self.channels_before, self.channels_after, ",d"),
            _named("blocks removed", f"{self.blocks_removed} (shortcuts {self.removed_shortcuts or 'none'})"),
            _named(
                "compact_vs_masked_max_abs",
                f"{self.compact_vs_masked_max_abs:.2e} ({self.compact_vs_masked_precision})",
            ),
            _named(
                "folding error",
                f"inside {inside}, border {self.folding_error_border:.4f} of the outputs' standard deviation",
            ),
        ]
        if self.recalibration_images:
            lines.append(_named("BN statistics", f"estimated anew on {self.recalibration_images} images"))
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    @property
    def notes(self) -> list[str]:
        """What a reader may not expect."""
        notes = []
        removed, asked = self.channels_removed_share or 0, self.channels_asked_share or 0
        if self.channels_held_by is not None and removed < asked:  # else a later round made up for it
            notes.append(
                f"{100 * removed:.1f} % of the channels were cut, {100 * asked:.1f} % were asked for: "
                f"{self.channels_held_by}"
            )
        if self.channels_asked_share is None and self.params_after == self.params_before:
            notes.append("the target was already met, so nothing was cut")
        if self.gamma_removed_share > _LIVE_SHARE:
            sparse = "; after `roadslim sparsify` the same cut costs next to nothing"
            notes.append(
                "channels at work were cut, so accuracy falls until the network is tuned again"
                + (sparse if self.importance == "gamma" else "")
            )
        smaller = self.params_before / self.params_after
        faster = self.predicted_dpu_ms_before / self.predicted_dpu_ms_after
        if faster < _MUCH_SLOWER * smaller:
            notes.append(
                f"{smaller:.1f} times smaller is {faster:.1f} times faster on the DPU: --target-ms cuts where time goes"
            )
        return notes


def _of_both(first: float | None, then: float | None) -> float | None:
    """The share that is gone after two cuts, each of what it found."""
    return None if first is None or then is None else 1 - (1 - first) * (1 - then)


def _line(what: str, before: float, after: float, form: str) -> str:
    return _named(what, f"{before:{form}} -> {after:{form}} (-{100 * (1 - after / before):.1f} %)")


def _named(what: str, text: str) -> str:
    return f"{what:<28} {text}"
