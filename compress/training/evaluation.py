"""mAP of a torch network on samples, through the board's own decoding and NMS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from board_app.core.bundle import DetectorSpec
from board_app.core.detections import Detections
from board_app.core.detector import Detector
from board_app.core.letterbox import LetterboxTransform
from compress.accuracy import Accuracy, Truth, mean_average_precision
from compress.darknet.heads import Head
from compress.training import processes
from compress.training.loader import TrainingImages, to_input

CONFIDENCE_FLOOR = 0.005  # mAP needs the weak detections too
NMS_IOU = 0.5
MAX_DETECTIONS = 100
_BATCH = 16
_CPU = torch.device("cpu")
Forward = Callable[[Tensor], Sequence[Tensor]]


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


def evaluate(
    forward: Forward,
    heads: Sequence[Head],
    images: TrainingImages,
    class_names: Sequence[str],
    device: torch.device = _CPU,
    together: bool = False,
) -> Accuracy:
    """mAP50 and more, in source pixels.

    Args:
        forward: from float32 (N, 3, H, W) to the raw heads (N, A*(5+C), h, w); a network in eval mode.
        heads: their strides and anchors.
        images: the labelled pictures.
        class_names: in the order of the class scores.
        device: what `forward` computes on.
        together: every process of the training is here, and does its share.
    """
    rank, count = (processes.rank(), processes.count()) if together else (0, 1)
    found = _detections(forward, heads, images, range(rank, len(images), count), class_names, device)
    everyone = processes.gathered(found) if together else [found]
    predictions = [everyone[index % count][index // count] for index in range(len(images))]
    truths = [Truth(sample.boxes_xyxy, sample.class_id) for sample in images.samples]
    return mean_average_precision(predictions, truths, class_names)


@torch.inference_mode()
def _detections(
    forward: Forward,
    heads: Sequence[Head],
    images: TrainingImages,
    indices: Sequence[int],
    class_names: Sequence[str],
    device: torch.device,
) -> list[Detections]:
    detector = Detector(evaluation_spec(heads, images.input_hw, class_names), lambda picture: [])
    found: list[Detections] = []
    for batch, ways_back in plain_batches(images, indices, device):
        raw_heads = [raw.permute(0, 2, 3, 1).contiguous().cpu().numpy() for raw in forward(batch)]
        for position, way_back in enumerate(ways_back):
            found.append(detector.postprocess([raw[position] for raw in raw_heads], way_back))
    return found


def plain_batches(
    images: TrainingImages, indices: Sequence[int], device: torch.device = _CPU
) -> Iterator[tuple[Tensor, list[LetterboxTransform]]]:
    """Pictures as they are, float32 (N, 3, H, W) in 0..1, and their ways back; the next ones are decoded meanwhile."""
    waiting: deque[Future[list[tuple[np.ndarray, LetterboxTransform]]]] = deque()

    def load(chosen: Sequence[int]) -> list[tuple[np.ndarray, LetterboxTransform]]:
        return [images.letterboxed(index) for index in chosen]

    def whole() -> tuple[Tensor, list[LetterboxTransform]]:
        entries = waiting.popleft().result()
        pixels = torch.from_numpy(np.stack([picture for picture, _ in entries]))
        return to_input(pixels.to(device).permute(0, 3, 1, 2)), [way_back for _, way_back in entries]

    with ThreadPoolExecutor(1, thread_name_prefix="pictures") as pool:
        for first in range(0, len(indices), _BATCH):
            waiting.append(pool.submit(load, indices[first : first + _BATCH]))
            if len(waiting) > 1:
                yield whole()
        while waiting:
            yield whole()
