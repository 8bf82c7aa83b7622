"""Sparse training: what the pruner will cut is driven to zero while the network learns to do without it."""

from compress.training.sparsity.sparsity import Sparsity

__all__ = ["Sparsity"]
