"""What a run would take on this machine: time, memory and disk of every stage, from a few real steps of each."""

from compress.estimate.run_estimate import RunEstimate, estimate_run
from compress.estimate.stage_estimate import StageEstimate

__all__ = ["RunEstimate", "StageEstimate", "estimate_run"]
