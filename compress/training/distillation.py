"""Distillation: a network also learns from a teacher's answers to the same pictures.

The teacher's objectness says where its answer matters, so the background does not drown the damage. Every term is 0
where student and teacher agree, is normalised for each picture alone, and has its own weight and its own line in the
metrics. Sources: Hinton et al., arXiv:1503.02531 (soft targets); Chen et al., NeurIPS 2017, Learning Efficient Object
Detection Models with Knowledge Distillation (weighting of background, box hints); Zagoruyko & Komodakis,
arXiv:1612.03928 (attention maps, which need no channels to match).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torchvision.ops import generalized_box_iou_loss

from compress.config import TaughtTrainingConfig
from compress.darknet.network import DarknetNetwork
from compress.quantization.grid_network import GridNetwork
from compress.training.attention import AttentionMaps
from compress.training.batch import Batch, StepHook
from compress.training.cells import cells_of, grids_of, raw_numbers
from compress.training.teacher import Teacher


class Distillation(StepHook):
    """Adds the distance to the teacher to the loss, as `teacher_objectness`, `_classes`, `_boxes` and `_features`.

    A term whose weight is 0 is not computed. A network on the DPU's grid has no layers to look into, so it learns
    from the heads alone.

    Args:
        student: the network that is trained.
        teacher: any network with the student's heads; it is copied and not changed.
        config: the weights, and the precision in which the teacher computes.
    Raises:
        InputError: teacher and student differ in their heads.
    """

    def __init__(
        self, student: DarknetNetwork | GridNetwork, teacher: DarknetNetwork, config: TaughtTrainingConfig
    ) -> None:
        self._student, self._config = student, config
        self._teacher = Teacher(teacher, student.heads, config.precision)
        self._attention: AttentionMaps | None = None

    def begin(self, steps: int) -> None:
        """Listen to the student; only now, so that copies of it that were made before are left alone."""
        if self._config.teacher_features and isinstance(self._student, DarknetNetwork):
            self._attention = AttentionMaps(self._student)

    def extra_loss(self, batch: Batch, raw_heads: Sequence[Tensor]) -> dict[str, Tensor]:
        """The weighted terms, each a mean over the pictures."""
        config, answer = self._config, self._teacher.answer(batch)
        heads = tuple(self._student.heads)
        student = raw_numbers(raw_heads, heads)  # (N, P, 5+C)
        teacher = raw_numbers(answer.raw_heads, heads)
        certainty = teacher[..., 4].sigmoid()  # (N, P)
        mass = certainty.sum(1) + 1.0  # of each picture; a picture without damage counts too
        terms: dict[str, Tensor] = {}
        if config.teacher_objectness:
            terms["teacher_objectness"] = (_distance(student[..., 4], teacher[..., 4]).sum(1) / mass).mean()
        if config.teacher_classes:
            classes = _distance(student[..., 5:], teacher[..., 5:]).sum(2)
            terms["teacher_classes"] = ((certainty * classes).sum(1) / mass).mean()
        if config.teacher_boxes:
            cells = cells_of(heads, grids_of(raw_heads), student.device)
            mine, theirs = (torch.cat(cells.corners(numbers), -1).flatten(0, 1) for numbers in (student, teacher))
            boxes = generalized_box_iou_loss(mine, theirs).view_as(certainty)
            terms["teacher_boxes"] = ((certainty * boxes).sum(1) / mass).mean()
        if self._attention is not None:
            pairs = zip(self._attention.take(), answer.attention, strict=True)
            distances = [(mine - theirs).square().sum(1).mean() for mine, theirs in pairs]
            terms["teacher_features"] = torch.stack(distances).mean()
        return {name: getattr(config, name) * value for name, value in terms.items()}


def _distance(logits: Tensor, teacher: Tensor) -> Tensor:
    """How far a yes or no is from the teacher's, the Kullback-Leibler divergence, elementwise."""
    wanted = teacher.sigmoid()
    return bce(logits, wanted, reduction="none") - bce(teacher, wanted, reduction="none")
