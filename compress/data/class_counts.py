"""How many boxes of each class there are, and whether a network could learn all of them."""

from __future__ import annotations

import numpy as np

from board_app.core.errors import InputError
from compress.data.dataset import Dataset


def box_counts(dataset: Dataset) -> np.ndarray:
    """Boxes of every class, int64 (C,)."""
    ids = np.concatenate([np.zeros(0, np.int32), *(sample.class_id for sample in dataset.samples)])
    return np.bincount(ids, minlength=len(dataset.classes))


def check_classes(dataset: Dataset) -> None:
    """Refuse a training split in which a class does not occur.

    Raises:
        InputError: no boxes at all, or none of some classes; names all of them.
    """
    counts = box_counts(dataset)
    if not counts.any():
        raise InputError(
            f"{dataset.root}: expected boxes in the training split, found none in {len(dataset)} images. "
            f"Check it: `roadslim data check {dataset.root}`"
        )
    never = [name for name, count in zip(dataset.classes, counts, strict=True) if not count]
    if never:
        plural = "es" if len(never) > 1 else ""
        raise InputError(
            f"class{plural} {', '.join(never)}: expected boxes in the training split of {dataset.root}, found none. "
            f"Leave out (`ignore_classes: [{', '.join(never)}]`), or map to a class that occurs (`map_classes`)"
        )
