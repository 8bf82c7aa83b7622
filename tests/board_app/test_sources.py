"""The SOURCE grammar and what each source gives."""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from board_app.camera_source import CameraSource
from board_app.core.errors import RoadslimError, SourceError, UsageError
from board_app.core.road_scenes import RoadDrive
from board_app.frames import Frame, Source
from board_app.made_sources import DriveSource, FakeSource
from board_app.mjpeg_source import MjpegSource
from board_app.sources import open_source, without_credentials


def all_frames(source: Source, most: int = 1000) -> list[Frame]:
    stop = threading.Event()
    frames = list(itertools.islice(source.frames(stop), most))
    source.close()
    return frames


def picture(value: int, size_hw: tuple[int, int] = (24, 32)) -> np.ndarray:
    return np.full((*size_hw, 3), value, np.uint8)


def test_a_folder_gives_its_images_by_name(tmp_path: Path) -> None:
    """Images come sorted by name; other files and folders inside are left alone."""
    for name, value in (("b.png", 20), ("a.png", 10), ("c.PNG", 30)):
        cv2.imwrite(str(tmp_path / f"x{name.lower()}"), picture(value))
        (tmp_path / f"x{name.lower()}").rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "inside.png").mkdir()
    source = open_source(str(tmp_path))
    frames = all_frames(source)
    assert [frame.name for frame in frames] == ["a.png", "b.png", "c.PNG"]
    assert [int(frame.image_bgr[0, 0, 0]) for frame in frames] == [10, 20, 30]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert not source.is_live and source.unreadable == 0


def test_one_image_is_a_source(tmp_path: Path) -> None:
    """A single image file gives one frame."""
    cv2.imwrite(str(tmp_path / "one.png"), picture(5))
    assert [frame.name for frame in all_frames(open_source(str(tmp_path / "one.png")))] == ["one.png"]


def test_a_damaged_image_is_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files that are no images are named in the log, counted, and take no frame number."""
    (tmp_path / "a.jpg").write_bytes(b"this is no picture")
    (tmp_path / "b.jpg").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "c.jpg"), picture(9))
    source = open_source(str(tmp_path))
    assert [(frame.index, frame.name) for frame in all_frames(source)] == [(0, "c.jpg")]
    assert source.unreadable == 2
    assert "a.jpg is no picture" in caplog.text and "b.jpg is no picture" in caplog.text


def test_a_folder_of_damaged_images_fails(tmp_path: Path) -> None:
    """When nothing can be read, that is an error with what to do."""
    (tmp_path / "a.jpg").write_bytes(b"this is no picture")
    with pytest.raises(SourceError, match=r"expected pictures, found 1 file.*Open one in an image viewer"):
        all_frames(open_source(str(tmp_path), loop=True))


def test_a_looping_folder_goes_on(tmp_path: Path) -> None:
    """With loop the images come again, the numbers go on."""
    cv2.imwrite(str(tmp_path / "a.png"), picture(1))
    assert [frame.index for frame in all_frames(open_source(str(tmp_path), loop=True), most=4)] == [0, 1, 2, 3]


def make_video(path: Path, count: int) -> None:
    writer = cv2.VideoWriter(str(path), int.from_bytes(b"MJPG", "little"), 12.5, (32, 24))
    for number in range(count):
        writer.write(picture(20 * number))
    writer.release()


def test_a_video_gives_every_frame(tmp_path: Path) -> None:
    """A video file gives all its frames in order, at its rate; with loop again and again."""
    make_video(tmp_path / "drive.avi", 6)
    source = open_source(str(tmp_path / "drive.avi"))
    frames = all_frames(source)
    assert source.fps == 12.5 and not source.is_live
    assert [frame.index for frame in frames] == list(range(6))
    values = [float(frame.image_bgr.mean()) for frame in frames]
    np.testing.assert_allclose(values, [20 * number for number in range(6)], atol=3)
    assert len(all_frames(open_source(str(tmp_path / "drive.avi"), loop=True), most=15)) == 15


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    """A text file with a video's name gives an error with a remedy."""
    (tmp_path / "drive.mp4").write_text("not a video")
    with pytest.raises(SourceError, match=r"expected a video, found a file that OpenCV here cannot open.*ffmpeg"):
        open_source(str(tmp_path / "drive.mp4"))


def test_the_drive_is_the_road_of_its_seed() -> None:
    """drive:SEED gives the frames of RoadDrive, the same each time; paced it is live."""
    source = open_source("drive:5?size=160x120&fps=15&pace=off")
    assert isinstance(source, DriveSource) and not source.is_live and source.fps == 15
    road = RoadDrive(5, (120, 160), 15)
    for frame in all_frames(source, most=3):
        np.testing.assert_array_equal(frame.image_bgr, road.frame(frame.index).image_bgr)
    assert open_source("drive:5").is_live


def test_fake_camera_keeps_its_rate() -> None:
    """fake:WxH@FPS gives pictures of that size at about that rate, and stamps them at capture."""
    source = open_source("fake:64x48@100")
    assert isinstance(source, FakeSource) and source.is_live
    start = time.monotonic()
    frames = all_frames(source, most=21)
    assert 0.19 <= time.monotonic() - start < 1.5
    assert frames[0].image_bgr.shape == (48, 64, 3)
    stamps = [frame.t_monotonic_ns for frame in frames]
    assert stamps == sorted(stamps) and stamps[-1] - stamps[0] >= 0.19e9
    assert not open_source("fake:64x48").is_live


class ScriptedCapture:
    """A camera that follows a script: T gives a picture, F fails, and X will not open."""

    opened: list[str] = []

    def __init__(self, script: str) -> None:
        self.script = list(script)
        self.opened.append(script)

    def isOpened(self) -> bool:
        return self.script[:1] != ["X"]

    def read(self) -> tuple[bool, object]:
        step = self.script.pop(0) if self.script else "F"
        return (True, picture(1)) if step == "T" else (False, None)

    def release(self) -> None:
        pass


def test_a_lost_camera_is_opened_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """After a loss the camera is tried again with growing pauses, the frames go on, and it is counted."""
    monkeypatch.setattr("board_app.camera_source.FIRST_WAIT_S", 0.01)
    scripts = iter(["TTF", "X", "X", "TTF", "T"])
    source = CameraSource("camera:9", lambda: ScriptedCapture(next(scripts)), "Plug it in.")
    frames = all_frames(source, most=5)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert source.reconnects == 2
    assert "attempt 2 failed, next in 0.0" in caplog.text
    assert "camera:9 is back after" in caplog.text and "3 attempt(s)" in caplog.text


def test_a_lost_camera_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a camera ends at once when the application is stopped."""
    monkeypatch.setattr("board_app.camera_source.FIRST_WAIT_S", 60)
    stop = threading.Event()
    source = CameraSource("camera:9", lambda: ScriptedCapture("F"), "Plug it in.")
    threading.Timer(0.05, stop.set).start()
    start = time.monotonic()
    assert list(source.frames(stop)) == []
    assert time.monotonic() - start < 5


def test_a_camera_that_is_not_there() -> None:
    """No camera at the start is an error, which lists the devices there are."""
    with pytest.raises(SourceError, match=r"camera:97: expected a camera or stream.*Devices here: .*Plug it in"):
        open_source("camera:97")


def test_jpegs_on_stdin() -> None:
    """Motion JPEG in a pipe gives its pictures, however it is cut into pieces; damaged ones are counted."""
    encoded = [cv2.imencode(".jpg", picture(60 * number))[1].tobytes() for number in range(4)]
    huge = bytearray(encoded[0])
    size_at = huge.index(b"\xff\xc0") + 5  # height and width in the frame header
    huge[size_at : size_at + 4] = b"\xff\xff\xff\xff"
    stream = encoded[0] + encoded[1] + b"\xff\xd8\xffrubbish\xff\xd9" + b"noise" + encoded[2] + huge + encoded[3]
    reader, writer = os.pipe()

    def feed() -> None:
        for start in range(0, len(stream), 97):
            os.write(writer, stream[start : start + 97])
        os.close(writer)

    feeder = threading.Thread(target=feed)
    feeder.start()
    source = MjpegSource(reader)
    values = [float(frame.image_bgr.mean()) for frame in all_frames(source)]
    feeder.join()
    os.close(reader)
    np.testing.assert_allclose(values, [0, 60, 120, 180], atol=2)
    assert source.unreadable == 2


def test_stdin_without_a_jpeg() -> None:
    """A pipe without any JPEG is an error that shows how to pipe one in."""
    reader, writer = os.pipe()
    os.write(writer, b"hello")
    os.close(writer)
    with pytest.raises(SourceError, match=r"expected Motion JPEG, found no JPEG.*ffmpeg -i INPUT"):
        all_frames(MjpegSource(reader))
    os.close(reader)


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("", SourceError, "found no such file|found none in it"),
        ("nowhere.mp4", SourceError, "expected camera:0.*found no such file or folder. Check the path"),
        ("camera:", UsageError, "expected a number or a device"),
        ("camera:0?size=big", UsageError, "expected size as WIDTHxHEIGHT.*found 'big'"),
        ("camera:0?sice=640x480", UsageError, "expected the options size, fps, found 'sice'"),
        ("drive:x", UsageError, "expected drive:SEED"),
        ("drive:-1", UsageError, "expected drive:SEED"),
        ("drive:1?fps=0", UsageError, "expected fps as frames a second"),
        ("drive:1?pace=fast", UsageError, "expected pace as live or off"),
        ("fake:640", UsageError, "expected WIDTHxHEIGHT.*For example fake:640x480@30"),
        ("fake:640x480@", UsageError, "frames a second"),
        ("fake:1x1", UsageError, "each from 16"),
    ],
)
def test_wrong_addresses(address: str, error: type[RoadslimError], message: str, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Each wrong address is answered with what was expected and found."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        open_source(address)


def test_a_folder_without_images(tmp_path: Path) -> None:
    """A folder with nothing to show is refused at once."""
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(SourceError, match="expected a folder with images.*found none in it"):
        open_source(str(tmp_path))


def test_credentials_stay_out_of_names() -> None:
    """User and password of a stream are never shown."""
    assert without_credentials("rtsp://me:secret@10.0.0.2:554/live") == "rtsp://10.0.0.2:554/live"
    assert without_credentials("rtsp://me:p@ss@10.0.0.2/live") == "rtsp://10.0.0.2/live"
    assert without_credentials("rtsp://10.0.0.2/a@b") == "rtsp://10.0.0.2/a@b"


def test_the_real_video(shared_data: Path) -> None:
    """The road video gives its 86 frames."""
    frames = all_frames(open_source(str(shared_data / "video" / "br_highway_640x400_5fps.mp4")))
    assert len(frames) == 86 and frames[0].image_bgr.shape == (400, 640, 3)
