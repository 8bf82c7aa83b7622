"""A search over how a run is made small: the Pareto front of mAP50 against predicted DPU time."""
