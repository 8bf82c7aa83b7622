"""The activations of Darknet's detectors in torch.

Sources: Redmon, Darknet (src/activations.c), public domain; Misra, Mish, arXiv:1908.08681; Ramachandran et al.,
Searching for activation functions, arXiv:1710.05941 (swish).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def activated(x: Tensor, name: str, slope: float) -> Tensor:
    """The activation of every number, in place where that loses nothing; `slope` is a leaky one's below zero."""
    if name == "leaky":
        return functional.leaky_relu(x, slope, inplace=True)
    if name == "relu":
        return functional.relu(x, inplace=True)
    if name == "relu6":
        return functional.relu6(x, inplace=True)
    if name == "mish":
        return functional.mish(x)
    if name == "swish":
        return functional.silu(x)
    if name == "logistic":
        return torch.sigmoid(x)
    assert name == "linear"
    return x


def slope_below_zero(name: str, leaky_slope: float) -> float:
    """The factor below zero as initialising weights needs it: 1 for linear, 0 for what flattens there."""
    return {"leaky": leaky_slope, "linear": 1.0}.get(name, 0.0)
