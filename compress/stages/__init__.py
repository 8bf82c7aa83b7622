"""The way from images to a bundle, stage by stage, in a run folder."""

from compress.stages.driver import STAGE_NAMES, run_single_stage, run_stages

__all__ = ["STAGE_NAMES", "run_single_stage", "run_stages"]
