"""From the raw numbers of the network's heads to boxes.

Sources: Redmon & Farhadi, YOLOv3: An Incremental Improvement, arXiv:1804.02767, section 2.1; a softmax over the
classes: YOLO9000, arXiv:1612.08242; centres that may leave their cell: Bochkovskiy et al., YOLOv4, arXiv:2004.10934.
"""

from __future__ import annotations

from typing import List, Sequence, Tuple

import numpy as np

from board_app.core.bundle import HeadSpec
from board_app.core.detections import Detections

_LARGEST_LOG_SIZE = 20.0  # exp(20) anchors: far beyond any picture, and far from float32's overflow


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) in float32, without overflow for any finite x."""
    small = np.exp(-np.abs(x))
    result: np.ndarray = np.where(x >= 0, 1, small) / (1 + small)
    return result


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum of exp(x) over the last axis, in float32, without overflow for any finite x."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    result: np.ndarray = powers / powers.sum(-1, keepdims=True)
    return result


def _logit_floor(confidence_threshold: float) -> float:
    """An objectness logit below which no confidence can be above the threshold, a little slack for rounding taken off.

    Objectness x class score is at most objectness, and the sigmoid only rises: so most cells are
    dismissed by one comparison of the raw number.
    """
    if confidence_threshold <= 0:
        return -np.inf
    if confidence_threshold >= 1:
        return np.inf
    return float(np.log(confidence_threshold / (1 - confidence_threshold))) - 1e-3


def _decode_head(
    head: np.ndarray,
    spec: HeadSpec,
    input_hw: Tuple[int, int],
    classes: int,
    confidence_threshold: float,
    multi_label: bool,
) -> Detections:
    grid_hw = (input_hw[0] // spec.stride, input_hw[1] // spec.stride)
    expected = (*grid_hw, len(spec.anchors) * (5 + classes))
    if head.shape != expected:
        raise ValueError(
            f"head {spec.output!r}: expected shape {expected} for stride {spec.stride}, {len(spec.anchors)} anchors "
            f"and {classes} classes at input {input_hw}, found {head.shape}"
        )
    scale = np.float32(2.0**-spec.fix_point) if head.dtype == np.int8 else np.float32(1)
    cells = head.reshape(*grid_hw, len(spec.anchors), 5 + classes)  # (H, W, A, 5+C)
    row, column, anchor = np.nonzero(cells[..., 4] > _logit_floor(confidence_threshold) / scale)
    raw = cells[row, column, anchor].astype(np.float32) * scale  # (n, 5+C)
    class_score = (softmax if spec.softmax else sigmoid)(raw[:, 5:])
    confidence = sigmoid(raw[:, 4:5]) * class_score  # (n, C)
    if multi_label:
        index, class_id = np.nonzero(confidence > confidence_threshold)
    else:
        class_id = confidence.argmax(1) if len(confidence) else np.zeros(0, np.int64)
        index = np.flatnonzero(confidence[np.arange(len(raw)), class_id] > confidence_threshold)
        class_id = class_id[index]
    raw, row, column, anchor = raw[index], row[index], column[index], anchor[index]
    offset = sigmoid(raw[:, :2]) * spec.scale_xy - (spec.scale_xy - 1) / 2
    centre = (offset + np.stack([column, row], 1)) * spec.stride
    half = np.exp(np.minimum(raw[:, 2:4], _LARGEST_LOG_SIZE)) * np.array(spec.anchors, np.float32)[anchor] / 2
    boxes = np.concatenate([centre - half, centre + half], 1)
    return Detections(
        boxes.astype(np.float32), confidence[index, class_id].astype(np.float32), class_id.astype(np.int32)
    )


def decode_heads(
    heads: Sequence[np.ndarray],
    head_specs: Sequence[HeadSpec],
    input_hw: Tuple[int, int],
    classes: int,
    confidence_threshold: float,
    multi_label: bool = False,
) -> Detections:
    """All boxes above the threshold, before NMS, in pixels of the network's input.

    Args:
        heads: per head float32 (H, W, A*(5+C)), each anchor's channels being x, y, w, h, objectness, class scores,
            all before sigmoid and softmax; or int8 of the same shape, then meaning integer x 2^-fix_point of its spec.
        head_specs: strides and anchors in the same order.
        input_hw: height and width of the network's input.
        classes: C.
        confidence_threshold: objectness x class score must be above this.
        multi_label: one detection per cell and class above the threshold, instead of the best class alone.
    Raises:
        ValueError: a head's shape does not follow from its spec.
    """
    if len(heads) != len(head_specs):
        raise ValueError(f"expected {len(head_specs)} heads, found {len(heads)}")
    found: List[Detections] = [
        _decode_head(head, spec, input_hw, classes, confidence_threshold, multi_label)
        for head, spec in zip(heads, head_specs)
    ]
    if not found:
        return Detections.empty()
    return Detections(
        np.concatenate([one.boxes_xyxy for one in found]),
        np.concatenate([one.confidence for one in found]),
        np.concatenate([one.class_id for one in found]),
    )
