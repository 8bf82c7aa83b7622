"""A folder of images as calibration batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from board_app.core.errors import InputError
from board_app.core.letterbox import letterbox
from compress.data.image_size import IMAGE_SUFFIXES, NoImageError, decode_image, image_size_hw

_Decoded = TypeVar("_Decoded")


class CalibrationImages:
    """The images of a folder in name order, batch after batch, the last one as small as it comes.

    Iterating gives float32 tensors (N, 3, H, W), RGB / 255; images of another size than the network's are letterboxed.
    """

    def __init__(self, folder: Path, input_hw: tuple[int, int], batch_size: int) -> None:
        """Raises InputError: no such folder, no images in it, or a file that is no image by its first bytes."""
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
        for path in self.paths:
            _decoded(path, image_size_hw)  # so that the last one is not found out after all others' calibration
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
        return np.ascontiguousarray(letterbox(_decoded(path, decode_image), self._input_hw)[0][:, :, ::-1])


def _decoded(path: Path, decode: Callable[[Path], _Decoded]) -> _Decoded:
    try:
        return decode(path)
    except NoImageError as error:
        raise InputError(f"{path}: expected an image, found {error}. Remove or replace it.") from error
