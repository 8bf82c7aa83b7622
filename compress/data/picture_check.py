"""Whether every picture of a dataset decodes, and whether one is in two splits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from compress.data.dataset import Dataset
from compress.data.image_size import NoImageError, decode_image
from compress.data.near_duplicates import PicturePrint, picture_print, same_pictures
from compress.data.problems import Problem
from compress.data.progress import tracked


@dataclass(frozen=True)
class CheckedPicture:
    """A picture that was decoded.

    Attributes:
        split, path: where it is.
        complaint: what is wrong with it, or an empty text.
        sha256: of the file.
        print: to find it again, None where it does not decode.
    """

    split: str
    path: Path
    complaint: str
    sha256: str = ""
    print: PicturePrint | None = None


def check_pictures(datasets: Mapping[str, Dataset]) -> list[CheckedPicture]:
    """Every picture of every split, decoded."""
    places = [(split, sample.image_path) for split, part in datasets.items() for sample in part.samples]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # OpenCV decodes outside the interpreter's lock
        return list(tracked(pool.map(lambda place: _checked(*place), places), len(places), "images"))


def picture_problems(pictures: Sequence[CheckedPicture]) -> list[Problem]:
    """Pictures that do not decode, and those that are in two splits, byte for byte or saved again."""
    problems = [Problem(one.path, None, one.complaint, one.path) for one in pictures if one.complaint]
    whole = [(picture, picture.print) for picture in pictures if picture.print is not None]
    told: set[tuple[str, Path]] = set()
    for first, second in same_pictures([entry for _, entry in whole], [picture.split for picture, _ in whole]):
        one, other = whole[first][0], whole[second][0]
        if (other.split, other.path) in told:
            continue
        told.add((other.split, other.path))
        how = "" if one.sha256 == other.sha256 else "saved anew "
        message = (
            f"expected every picture in one split, found it in {other.split} and, {how}as {one.path}, in {one.split}. "
            "Remove one: accuracy on pictures seen in training says nothing"
        )
        problems.append(Problem(other.path, None, message, other.path, other_image=one.path))
    return problems


def _checked(split: str, path: Path) -> CheckedPicture:
    try:
        image = decode_image(path)
    except NoImageError as error:
        return CheckedPicture(split, path, f"expected an image, found {error}. Replace or remove it")
    content = path.read_bytes()
    # inside coded pixels every FF is escaped, so a whole JPEG has an end marker after its last start of scan
    if content[:2] == b"\xff\xd8" and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        return CheckedPicture(
            split, path, f"expected a whole JPEG, found one cut off after {len(content)} bytes. Copy it again"
        )
    return CheckedPicture(split, path, "", hashlib.sha256(content).hexdigest(), picture_print(image))
