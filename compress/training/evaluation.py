"""mAP of a torch network on samples, through the board's own decoding and NMS."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from board_app.core.bundle import DetectorSpec
from board_app.core.detector import Detector
from compress.accuracy import Accuracy, Truth, mean_average_precision
from compress.darknet.heads import Head
from compress.training.loader import TrainingImages, to_input

CONFIDENCE_FLOOR = 0.005  # mAP needs the weak detections too
NMS_IOU = 0.5
MAX_DETECTIONS = 100
_BATCH = 16


def evaluation_spec(heads: Sequence[Head], input_hw: tuple[int, int], class_names: Sequence[str]) -> DetectorSpec:
    """The detector whose mAP is counted: low confidence threshold, otherwise as on the board."""
    return DetectorSpec(
        name="evaluation",
        classes=tuple(class_names),
        input_hw=input_hw,
        heads=tuple(head.spec(f"head_{i}") for i, head in enumerate(heads)),
        confidence_threshold=CONFIDENCE_FLOOR,
        iou_threshold=NMS_IOU,
        max_detections=MAX_DETECTIONS,
    )


@torch.inference_mode()
def evaluate(
    forward: Callable[[Tensor], Sequence[Tensor]],
    heads: Sequence[Head],
    images: TrainingImages,
    class_names: Sequence[str],
) -> Accuracy:
    """mAP50 and more, in source pixels.

    Args:
        forward: from float32 (N, 3, H, W) to the raw heads (N, A*(5+C), h, w); a network in eval mode.
        heads: their strides and anchors.
    """
    detector = Detector(evaluation_spec(heads, images.input_hw, class_names), lambda picture: [])
    predictions, truths = [], []
    for first in range(0, len(images), _BATCH):
        indices = range(first, min(first + _BATCH, len(images)))
        entries = [images.letterboxed(index) for index in indices]
        batch = torch.stack([torch.from_numpy(pixels).permute(2, 0, 1) for pixels, _ in entries])
        raw_heads = [raw.permute(0, 2, 3, 1).contiguous().numpy() for raw in forward(to_input(batch))]
        for position, index in enumerate(indices):
            predictions.append(detector.postprocess([raw[position] for raw in raw_heads], entries[position][1]))
            sample = images.samples[index]
            truths.append(Truth(sample.boxes_xyxy, sample.class_id))
    return mean_average_precision(predictions, truths, class_names)
