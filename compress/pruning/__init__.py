"""Cutting channels and residual blocks out of a trained network, with proof that the rest is unchanged."""
