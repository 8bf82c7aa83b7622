"""Pictures and figures as data URIs, so that the page needs no other file."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from board_app.core.errors import InputError

MOST_PICTURES = 12
_WIDEST = 960  # pixels; annotated frames stay legible and the page small
_CAPTIONS = {
    "figure1_sparse_map": "Figure 1. mAP50 over the epochs of sparse training.",
    "figure2_gammas": "Figure 2. The batch-norm gammas over the epochs of sparse training.",
    "figure3_pruned_layers": "Figure 3. What was pruned per layer.",
    "figure4_finetune_map": "Figure 4. mAP50 over fine-tuning with distillation.",
}
_UNFINISHED = re.compile(r"\.(partial|replaced|stopped-[^/]*)/")  # folders of a run's stages
_PICTURES = (".png", ".jpg", ".jpeg")
_MEDIA = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


@dataclass(frozen=True)
class Embedded:
    """An image in the page."""

    uri: str
    caption: str


def data_uri(content: bytes, suffix: str) -> str:
    """The bytes of an image file as a data URI."""
    return f"data:{_MEDIA[suffix]};base64,{base64.b64encode(content).decode('ascii')}"


def figures_of(folders: Sequence[Path]) -> list[Embedded]:
    """Figures 1 to 4 of run folders, as `roadslim compress` draws them; an unfinished stage's are left out.

    Raises:
        InputError: a folder is missing or has no figure.
    """
    found: list[Embedded] = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"--figures: expected a run folder at {folder}, found none. Check the path.")
        paths = [
            path
            for path in sorted(folder.rglob("figure*"), key=lambda path: path.name)
            if path.suffix in (".svg", ".png") and not _UNFINISHED.search(path.relative_to(folder).as_posix())
        ]
        if not paths:
            raise InputError(
                f"--figures: expected figure*.svg or .png in {folder}, found none. `roadslim compress` draws them."
            )
        prefix = f"{folder.name}: " if len(folders) > 1 else ""
        for path in paths:
            caption = _CAPTIONS.get(path.stem, path.stem.replace("_", " "))
            found.append(Embedded(data_uri(path.read_bytes(), path.suffix), prefix + caption))
    return found


def pictures_of(paths: Sequence[Path]) -> list[Embedded]:
    """Annotated pictures, at most MOST_PICTURES spread evenly over what is given, scaled down where large.

    Raises:
        InputError: a path is missing or no picture.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += [file for file in sorted(path.iterdir()) if file.suffix.lower() in _PICTURES]
        else:
            files.append(path)
    if len(files) > MOST_PICTURES:
        chosen = np.linspace(0, len(files) - 1, MOST_PICTURES).round().astype(int)
        files = [files[index] for index in chosen]
    return [Embedded(_scaled(file), file.stem) for file in files]


def _scaled(path: Path) -> str:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"--pictures: expected a picture at {path}, found something else or nothing. Leave it out.")
    height, width = image.shape[:2]
    if width > _WIDEST:
        image = cv2.resize(image, (_WIDEST, round(height * _WIDEST / width)), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return data_uri(encoded.tobytes(), ".jpg")
