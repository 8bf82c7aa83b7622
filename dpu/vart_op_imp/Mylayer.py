"""`Mylayer` of AMD's TensorFlow 2 custom operator example: a PReLU with one slope for each value of a picture.

Source: Xilinx/Vitis-AI, examples/custom_operator/tensorflow2_example/op_registration (Apache-2.0).
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Mylayer:
    """x where x >= 0, else x * alpha; inputs: x (N, ...) float32 and alpha (...) float32."""

    def __init__(self, op: Any) -> None:
        """No attribute changes what it does."""

    def calculate(self, output: Any, input: list[Any]) -> None:
        """Write the result into `output`; alpha is repeated for every picture."""
        x, alpha = np.asarray(input[0]), np.asarray(input[1])
        np.asarray(output)[...] = np.where(x >= 0, x, x * alpha.reshape(x.shape[1:]))
