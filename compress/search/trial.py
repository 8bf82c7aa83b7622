"""One trial: an ordinary run in a folder of its own."""

from __future__ import annotations

from compress.config import CompressConfig
from compress.search.outcome import OnEpoch, Outcome, prune_report
from compress.search.trained import alone, share_training
from compress.stages.driver import run_stages


def run_trial(config: CompressConfig, evaluate: str, on_epoch: OnEpoch) -> Outcome:
    """Run the stages of a trial, from where an earlier attempt in its folder was stopped.

    Args:
        config: the trial's own.
        evaluate: `int8` or `float`, the mAP50 that counts, on the validation split.
        on_epoch: is called in the stages after train, whose result other trials share.
    """
    with alone(config.folder):
        share_training(config)
        rows = run_stages(config, "quantize" if evaluate == "int8" else "distill", on_epoch=on_epoch)["rows"]
    report = prune_report(config)
    return Outcome(
        map50=rows[-1][f"map50_{evaluate}"],
        dpu_ms=report["predicted_dpu_ms_after"],
        board=report["board"],
        params=report["params_after"],
    )
