"""`PPScatterV2` of AMD's PointPillars example: put pillars back to their places in the picture seen from above.

Source: Xilinx/Vitis-AI, examples/custom_operator/pytorch_example/op_registration (Apache-2.0).
"""

from __future__ import annotations

from typing import Any

import numpy as np


class PPScatterV2:
    """Pillars (1, C, N, 1) and places (1, N, 4) = (batch, z, y, x) float32 to a picture (1, C, ny, nx); else zero.

    The list of places ends at the first negative x. Where two pillars share a place the later one stays.
    """

    def __init__(self, op: Any) -> None:
        """The output tensor's shape tells nx and ny."""

    def calculate(self, output: Any, input: list[Any]) -> None:
        """Write the result into `output`. Raises ValueError for a place outside of the picture."""
        pillars, places, picture = np.asarray(input[0]), np.asarray(input[1]), np.asarray(output)
        ends = np.flatnonzero(places[0, :, 3] < 0)
        count = int(ends[0]) if ends.size else places.shape[1]
        y, x = places[0, :count, 2].astype(np.int64), places[0, :count, 3].astype(np.int64)
        if count and (min(y.min(), x.min()) < 0 or y.max() >= picture.shape[2] or x.max() >= picture.shape[3]):
            raise ValueError(
                f"expected places within {picture.shape[2]} x {picture.shape[3]}, found y {y.min()} to {y.max()} and "
                f"x {x.min()} to {x.max()}"
            )
        picture[...] = 0
        last = {place: n for n, place in enumerate(zip(y.tolist(), x.tolist()))}  # noqa: B905
        kept = np.fromiter(last.values(), np.int64, len(last))
        picture[0][:, y[kept], x[kept]] = pillars[0, :, kept, 0].T
