"""A folder of images as calibration batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from board_app.core.errors import InputError
from board_app.core.letterbox import letterbox
from compress.data.image_size import IMAGE_SUFFIXES, NoImageError, decode_image


class CalibrationImages:
    """The images of a folder in name order, batch after batch, the last one as small as it comes.

    Iterating gives float32 tensors (N, 3, H, W), RGB / 255; images of another size than the network's are letterboxed.
    """

    def __init__(self, folder: Path, input_hw: tuple[int, int], batch_size: int) -> None:
        """Raises InputError: no such folder, or no images in it."""
        if not folder.is_dir():
            raise InputError(
                f"expected a folder of calibration images at {folder}, found none. Name an existing folder."
            )
        self.paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if not self.paths:
            raise InputError(
                f"expected calibration images ({' '.join(sorted(IMAGE_SUFFIXES))}) in {folder}, found none. "
                "Put some training images there, 20 at least."
            )
        self._input_hw, self._batch_size = input_hw, batch_size

    def __len__(self) -> int:
        """How many batches there are."""
        return -(-len(self.paths) // self._batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        """The batches; raises InputError at an image that is no image, with its path."""
        for start in range(0, len(self.paths), self._batch_size):
            images = [self._read(path) for path in self.paths[start : start + self._batch_size]]
            yield torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().float() / 255

    def _read(self, path: Path) -> np.ndarray:
        """The letterboxed image, uint8 (H, W, 3), RGB."""
        try:
            image_bgr = decode_image(path)
        except NoImageError as error:
            raise InputError(f"{path}: expected an image, found {error}. Remove or replace it.") from error
        return np.ascontiguousarray(letterbox(image_bgr, self._input_hw)[0][:, :, ::-1])
