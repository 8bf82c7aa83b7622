"""A network that another one learns from: its answers to pictures, computed as cheaply as may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from board_app.core.errors import InputError
from compress.config import Precision
from compress.darknet.fold import folded
from compress.darknet.heads import Head
from compress.darknet.network import DarknetNetwork
from compress.training.attention import AttentionMaps
from compress.training.batch import Batch
from compress.training.precision import products_in

CACHE_LIMIT_BYTES = 512 << 20  # of answers; pictures beyond it are asked about again


@dataclass(frozen=True)
class Answer:
    """What a teacher says to N pictures.

    Attributes:
        raw_heads: float32, one (N, A*(5+C), H, W) a head.
        attention: float32, one (N, H*W) a head, see `AttentionMaps`.
    """

    raw_heads: list[Tensor]
    attention: list[Tensor]


class Teacher:
    """Answers in evaluation mode, without gradients, its batch normalisation folded.

    Answers to pictures that were not varied are kept, by picture and size.

    Args:
        network: the teacher; it is copied.
        heads: the student's.
        precision: of its products.
    Raises:
        InputError: its heads are others than the student's; the message names what differs.
    """

    def __init__(self, network: DarknetNetwork, heads: Sequence[Head], precision: Precision = "float32") -> None:
        differences = head_differences(heads, network.heads)
        if differences:
            raise InputError(
                f"{network.cfg.name}: expected a teacher with the student's heads, found {'; '.join(differences)}. "
                "Name a network that was trained on the same classes, with the same anchors"
            )
        self._precision = precision
        self._network = folded(network).to(memory_format=torch.channels_last)
        self._attention = AttentionMaps(self._network)
        self._kept: dict[tuple[int, ...], list[Tensor]] = {}  # by picture, height and width
        self._kept_bytes = 0

    def answer(self, batch: Batch) -> Answer:
        """The answers to a batch, on its device, computed or kept."""
        keys = [(index, *batch.images.shape[2:]) for index in batch.indices.tolist()]
        if batch.plain and all(key in self._kept for key in keys):
            columns = zip(*[self._kept[key] for key in keys], strict=True)
            tensors = [torch.stack(column).to(batch.images.device) for column in columns]
        else:
            tensors = self._ask(batch.images)
            if batch.plain:
                self._keep(keys, tensors)
        heads = len(self._network.heads)
        return Answer(tensors[:heads], tensors[heads:])

    def _ask(self, images: Tensor) -> list[Tensor]:
        with torch.inference_mode(), products_in(self._precision, images.device):
            raw_heads = self._network.to(images.device)(images)
            answers = [*raw_heads, *self._attention.take()]
        return [values.float().clone() for values in answers]  # tensors that a student's gradient may meet

    def _keep(self, keys: Sequence[tuple[int, ...]], tensors: Sequence[Tensor]) -> None:
        for position, key in enumerate(keys):
            size = sum(values[position].nbytes for values in tensors)
            if key not in self._kept and self._kept_bytes + size <= CACHE_LIMIT_BYTES:
                self._kept[key] = [values[position].cpu().clone() for values in tensors]
                self._kept_bytes += size


def head_differences(student: Sequence[Head], teacher: Sequence[Head]) -> list[str]:
    """What of the heads differs, head by head; where they are in the cfg does not count."""
    if len(student) != len(teacher):
        return [f"{len(teacher)} heads instead of {len(student)}"]
    names = [field.name for field in fields(Head) if field.name != "layer"]
    return [
        f"{name} {getattr(theirs, name)} instead of {getattr(mine, name)} in head {number}"
        for number, (mine, theirs) in enumerate(zip(student, teacher, strict=True), 1)
        for name in names
        if getattr(mine, name) != getattr(theirs, name)
    ]
