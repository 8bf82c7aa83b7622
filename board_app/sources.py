"""The SOURCE grammar, one for every program.

camera:0                                    the first camera
camera:/dev/video0?size=1280x720&fps=30     a camera with a picture size (WIDTHxHEIGHT) and a rate
rtsp://USER:PASSWORD@HOST/PATH              a network stream
road.avi                                    a video file, every frame
images/                                     the images of a folder in the order of their names; or one image
drive:7                                     a synthetic drive, live at 15 frames a second
drive:7?size=640x480&fps=30&pace=off        the same road, every frame, as fast as it goes
fake:640x480@30                             a test picture at 30 frames a second; without @30 as fast as it goes
-                                           Motion JPEG on stdin
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple
from urllib.parse import parse_qsl

import cv2

from board_app.camera_source import CameraSource
from board_app.core.errors import SourceError, UsageError
from board_app.file_sources import IMAGE_SUFFIXES, ImageSource, VideoSource
from board_app.frames import Source
from board_app.made_sources import DriveSource, FakeSource
from board_app.mjpeg_source import MjpegSource

GRAMMAR = (
    "camera:0, camera:/dev/video0?size=1280x720&fps=30, rtsp://..., a video file, an image or a folder of images, "
    "drive:SEED, fake:640x480@30, or - for Motion JPEG on stdin"
)
DRIVE_SIZE_HW = (480, 672)
DRIVE_FPS = 15.0


def without_credentials(address: str) -> str:
    """The address with `user:password@` taken out, fit for logs."""
    return re.sub(r"(?<=://)[^/]*@", "", address)  # to the last @ before the path: a password may have one too


def _size_hw(text: str) -> Tuple[int, int]:
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if not match or min(int(match[1]), int(match[2])) < 16:
        raise ValueError("WIDTHxHEIGHT such as 1280x720, each from 16 to 9999")
    return int(match[2]), int(match[1])


def _fps(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not 0 < float(text) <= 1000:
        raise ValueError("frames a second, above 0 and at most 1000")
    return float(text)


def _pace(text: str) -> bool:
    if text not in ("live", "off"):
        raise ValueError("live or off")
    return text == "live"


def _options(address: str, readers: Dict[str, Callable[[str], Any]]) -> Tuple[str, Dict[str, Any]]:
    """The part before `?`, and the options after it."""
    head, _, query = address.partition("?")
    options = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in readers:
            raise UsageError(
                f"--source {address}: expected the options {', '.join(readers)}, found {key!r}. Remove it."
            )
        try:
            options[key] = readers[key](value)
        except ValueError as error:
            raise UsageError(f"--source {address}: expected {key} as {error}, found {value!r}. Correct it.") from None
    return head, options


def _open_camera(address: str) -> Source:
    device, options = _options(address[len("camera:") :], {"size": _size_hw, "fps": _fps})
    if not device:
        raise UsageError(f"--source {address}: expected a number or a device, found none. For example camera:0.")

    def open_capture() -> cv2.VideoCapture:
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        capture = cv2.VideoCapture(int(device) if device.isdigit() else device, backend)
        if "size" in options:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, options["size"][1])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options["size"][0])
        if "fps" in options:
            capture.set(cv2.CAP_PROP_FPS, options["fps"])
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # where the driver knows it: no old pictures in the kernel's queue
        return capture

    found = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
    advice = f"Devices here: {found}. Plug it in, or take another; a program that holds it must let go."
    return CameraSource(f"camera:{device}", open_capture, advice, options.get("fps"))


def _open_stream(address: str) -> Source:
    advice = "Check address, user and password: ffplay ADDRESS"
    return CameraSource(without_credentials(address), lambda: cv2.VideoCapture(address), advice)


def _open_drive(address: str) -> Source:
    seed, options = _options(address[len("drive:") :], {"size": _size_hw, "fps": _fps, "pace": _pace})
    if not re.fullmatch(r"\d{1,9}", seed):
        raise UsageError(f"--source {address}: expected drive:SEED, SEED a whole number from 0, found {seed!r}.")
    size_hw = options.get("size", DRIVE_SIZE_HW)
    return DriveSource(int(seed), size_hw, options.get("fps", DRIVE_FPS), options.get("pace", True))


def _open_fake(address: str) -> Source:
    size, at, fps = address[len("fake:") :].partition("@")
    try:
        return FakeSource(_size_hw(size), _fps(fps) if at else None)
    except ValueError as error:
        raise UsageError(f"--source {address}: expected {error}. For example fake:640x480@30.") from None


def _open_path(address: str, loop: bool) -> Source:
    path = Path(address)
    if path.is_dir() or (path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES):
        return ImageSource(path, loop)
    if path.is_file():
        return VideoSource(path, loop)
    kind: Optional[str] = "something that is neither file nor folder" if path.exists() else "no such file or folder"
    raise SourceError(f"--source {address}: expected {GRAMMAR}; found {kind}. Check the path.")


def open_source(address: str, loop: bool = False) -> Source:
    """The source that an address of the grammar names.

    Args:
        address: see the grammar above.
        loop: files begin again at their end.
    Raises:
        UsageError: the address is wrong.
        SourceError: it names nothing that gives pictures.
    """
    if address == "-":
        return MjpegSource()
    if address.startswith("camera:"):
        return _open_camera(address)
    if address.startswith(("rtsp://", "rtsps://", "http://", "https://")):
        return _open_stream(address)
    if address.startswith("drive:"):
        return _open_drive(address)
    if address.startswith("fake:"):
        return _open_fake(address)
    return _open_path(address, loop)
