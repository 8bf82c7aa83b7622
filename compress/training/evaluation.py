"""mAP of a torch network on samples, with the board's own decoding and NMS."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from board_app.core.boxes import nms
from board_app.core.yolo_head import decode_heads
from compress.accuracy import Accuracy, Truth, mean_average_precision
from compress.training.loader import TrainingImages, to_input

CONFIDENCE_FLOOR = 0.005  # mAP needs the weak detections too
NMS_IOU = 0.5
MAX_DETECTIONS = 100
_BATCH = 16


@torch.inference_mode()
def evaluate(network: torch.nn.Module, images: TrainingImages, class_names: Sequence[str]) -> Accuracy:
    """mAP50 and more of the network in eval mode, in source pixels."""
    was_training = network.training
    network.eval()
    predictions, truths = [], []
    for first in range(0, len(images), _BATCH):
        indices = range(first, min(first + _BATCH, len(images)))
        entries = [images.letterboxed(index) for index in indices]
        batch = torch.stack([torch.from_numpy(pixels).permute(2, 0, 1) for pixels, _ in entries])
        heads = [raw.permute(0, 2, 3, 1).contiguous().numpy() for raw in network(to_input(batch))]
        for position, index in enumerate(indices):
            found = decode_heads(
                [raw[position] for raw in heads], network.heads, images.input_hw, len(class_names), CONFIDENCE_FLOOR
            )
            kept = nms(found, NMS_IOU, MAX_DETECTIONS)
            sample, way_back = images.samples[index], entries[position][1]
            predictions.append(
                type(kept)(way_back.to_source(kept.boxes_xyxy), kept.confidence, kept.class_id)
            )
            truths.append(Truth(sample.boxes_xyxy, sample.class_id))
    network.train(was_training)
    return mean_average_precision(predictions, truths, class_names)
