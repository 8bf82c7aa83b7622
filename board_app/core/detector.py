"""The detector: letterbox, network, decoding, NMS. The same file on the host and on the board."""

from __future__ import annotations

from typing import Callable, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from board_app.core.boxes import clip_boxes, nms
from board_app.core.bundle import DetectorSpec
from board_app.core.detections import Detections
from board_app.core.letterbox import LetterboxTransform, letterbox
from board_app.core.yolo_head import decode_heads

Forward = Callable[[np.ndarray], List[np.ndarray]]


class Detector:
    """Finds objects in pictures with any implementation of the network.

    Args:
        spec: input size, heads, classes, thresholds.
        forward: from the letterboxed picture, uint8 RGB (H, W, 3), to the raw heads in the order of `spec.heads`,
            each (h, w, A*(5+C)), float32 or int8 (see `decode_heads`).
        confidence_threshold: instead of the spec's.
        multi_label: report every class above the threshold of a cell, as evaluations do, not only the best.

    Thread-safe if `forward` is: nothing is changed after construction.
    """

    def __init__(
        self,
        spec: DetectorSpec,
        forward: Forward,
        confidence_threshold: Optional[float] = None,
        multi_label: bool = False,
    ) -> None:
        self.spec = spec
        self.forward = forward
        self.confidence_threshold = spec.confidence_threshold if confidence_threshold is None else confidence_threshold
        self.multi_label = multi_label

    def preprocess(self, image_bgr: np.ndarray) -> Tuple[np.ndarray, LetterboxTransform]:
        """The network's picture, uint8 (H, W, 3) in the spec's channel order, and the way back for boxes."""
        boxed, transform = letterbox(image_bgr, self.spec.input_hw)
        return cv2.cvtColor(boxed, cv2.COLOR_BGR2RGB), transform

    def postprocess(self, heads: Sequence[np.ndarray], transform: LetterboxTransform) -> Detections:
        """Detections in source pixels, strongest first, clipped to the picture, from the raw heads."""
        spec = self.spec
        found = decode_heads(
            heads, spec.heads, spec.input_hw, len(spec.classes), self.confidence_threshold, self.multi_label
        )
        kept = nms(found, spec.iou_threshold, spec.max_detections)
        boxes = clip_boxes(transform.to_source(kept.boxes_xyxy), transform.source_hw)
        inside = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)  # boxes wholly in the padding show nothing
        return Detections(boxes[inside], kept.confidence[inside], kept.class_id[inside])

    def detect(self, image_bgr: np.ndarray) -> Detections:
        """What is in the picture (uint8 (H, W, 3)); boxes in its pixels.

        Raises:
            ValueError: the picture is empty, not three-channel or not uint8.
        """
        picture, transform = self.preprocess(image_bgr)
        return self.postprocess(self.forward(picture), transform)
