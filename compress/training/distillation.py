"""Distillation: the pruned network also learns from the unpruned one's answers to the same pictures.

The teacher's objectness says where its answer matters, so the background does not drown the damage.
Sources: Hinton et al., arXiv:1503.02531 (soft targets); Chen et al., NeurIPS 2017, Learning Efficient Object
Detection Models with Knowledge Distillation (weighting of background, box hints).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torchvision.ops import generalized_box_iou_loss

from board_app.core.errors import InputError
from compress.darknet.network import DarknetNetwork
from compress.quantization.grid_network import GridNetwork
from compress.training.batch import Batch, StepHook
from compress.training.loss import split_head


class Distillation(StepHook):
    """Adds the distance to the teacher's heads to the loss.

    Raises:
        InputError: teacher and student differ in their heads.
    """

    def __init__(self, student: DarknetNetwork | GridNetwork, teacher: DarknetNetwork, weight: float) -> None:
        mine, theirs = [_shape(head) for head in student.heads], [_shape(head) for head in teacher.heads]
        if mine != theirs:
            raise InputError(
                f"distil: expected a teacher with the student's heads {mine}, found {theirs}. "
                "Name the stage that the student was pruned from"
            )
        self._teacher = teacher.eval().to(memory_format=torch.channels_last)
        self._weight, self._heads = weight, student.heads

    def extra_loss(self, batch: Batch, raw_heads: Sequence[Tensor]) -> dict[str, Tensor]:
        """Weighted distance of boxes, objectness and classes, the mean over pictures and heads."""
        with torch.no_grad():
            answers = self._teacher(batch.images)
        total = raw_heads[0].new_zeros(())
        for raw, answer, head in zip(raw_heads, answers, self._heads, strict=True):
            student, teacher = split_head(raw, head), split_head(answer, head)
            certainty = teacher.objectness.sigmoid()
            mass = certainty.sum((1, 2, 3)) + 1.0  # of each picture
            objectness = bce(student.objectness, certainty, reduction="none")
            classes = bce(student.classes, teacher.classes.sigmoid(), reduction="none").sum(-1)
            boxes = generalized_box_iou_loss(student.boxes_xyxy.flatten(0, 3), teacher.boxes_xyxy.flatten(0, 3))
            distance = objectness + certainty * (classes + boxes.view_as(certainty))
            total = total + (distance.sum((1, 2, 3)) / mass).mean()
        return {"teacher": self._weight * total / len(raw_heads)}


def _shape(head: object) -> tuple[object, ...]:
    return tuple(getattr(head, name) for name in ("stride", "anchors", "classes"))
