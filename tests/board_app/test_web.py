"""The live page's server."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

import board_app.web
from board_app.annotate import CLASS_COLOURS_BGR
from board_app.core.detections import Detections
from board_app.core.errors import UsageError
from board_app.frames import Frame, Result, StageTimes
from board_app.health import Health
from board_app.made_sources import FakeSource
from board_app.metrics import Metrics
from board_app.testing import write_squares_bundle
from board_app.web.server import PageServer, parse_listen, start_server
from board_app.web.snapshot import Picture

HEALTHZ = {
    "release",
    "healthy",
    "reasons",
    "frames_in",
    "frames_done",
    "frames_dropped",
    "fps",
    "model_sha256",
    "origin",
}


@pytest.fixture
def health() -> Health:
    return Health("r1", Metrics(2))


@pytest.fixture
def server(health: Health) -> Iterator[PageServer]:
    server = start_server(("127.0.0.1", 0), health, fall_back=False)
    yield server
    server.stop()


def get(server: PageServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def finish_frame(health: Health, index: int = 0, empty: bool = False) -> None:
    image = np.full((48, 64, 3), 90, np.uint8)
    found = Detections(np.array([[8, 8, 40, 40]], np.float32), np.array([0.75], np.float32), np.array([1], np.int32))
    found = Detections.empty() if empty else found
    result = Result(Frame(image, index), found, StageTimes(1, 2, 3, 6))
    health.metrics.frame_in(result.frame.t_monotonic_ns)
    health.write(result)
    health.metrics.frame_done(result)


def test_before_the_first_frame(server: PageServer, health: Health) -> None:
    """Until a frame went through the DPU the application is not healthy, and says what it is doing."""
    health.enter("the model is being loaded onto the DPU")
    status, _, body = get(server, "/healthz")
    document = json.loads(body)
    assert status == 503 and set(document) >= HEALTHZ
    assert document["healthy"] is False and document["model_sha256"] is None
    assert document["reasons"] == ["no frame has gone through the DPU yet: the model is being loaded onto the DPU"]
    assert get(server, "/snapshot.jpg")[0] == 503
    assert json.loads(get(server, "/api/state")[2])["frame"] is None


def test_after_the_first_frame(server: PageServer, health: Health, tmp_path: Path) -> None:
    """With the first frame done the application is healthy; picture and detections are there."""
    bundle = write_squares_bundle(tmp_path / "s.bundle")
    health.has(bundle, FakeSource((48, 64), 30.0))
    health.metrics.origin = "simulated"
    finish_frame(health, 7)
    status, _, body = get(server, "/healthz")
    document = json.loads(body)
    assert status == 200 and document["healthy"] is True and document["reasons"] == []
    assert document["release"] == "r1" and document["frames_done"] == 1
    assert document["model_sha256"] == bundle.model_sha256
    state = json.loads(get(server, "/api/state")[2])
    assert state["frame"]["detections"] == [{"class_id": 1, "confidence": 0.75, "box_xyxy": [8, 8, 40, 40]}]
    assert state["classes"][1] == {"name": "blue", "label": "blue square"}
    assert (state["latency_ms"]["p50"], state["origin"]) == (6, "simulated")
    status, headers, body = get(server, "/snapshot.jpg")
    assert status == 200 and headers["X-Frame"] == "7" and headers["Content-Type"] == "image/jpeg"
    image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape == (48, 64, 3)
    assert np.abs(image[39, 20].astype(int) - CLASS_COLOURS_BGR[1]).max() < 60


def test_what_was_found_last_stays_known(health: Health) -> None:
    """When the newest frame shows nothing, the latest detections are still there, with their age."""
    finish_frame(health, 1)
    finish_frame(health, 2, empty=True)
    state = health.state()
    assert state["frame"]["index"] == 2 and state["frame"]["detections"] == []
    assert state["last_found"]["index"] == 1 and len(state["last_found"]["detections"]) == 1
    assert 0 <= state["last_found"]["age_s"] < 5


def test_a_silent_live_source_is_unhealthy(health: Health, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that stopped makes the application unhealthy by name; a folder that is through does not."""
    bundle = write_squares_bundle(tmp_path / "s.bundle")
    finish_frame(health)
    real = time.monotonic_ns
    monkeypatch.setattr(time, "monotonic_ns", lambda: real() + 30 * 10**9)
    health.has(bundle, FakeSource((48, 64), 30.0))
    assert health.healthz()["reasons"] == ["fake:64x48@30 has given no frame for 30 s"]
    health.has(bundle, FakeSource((48, 64), None))
    assert health.healthz()["healthy"] is True


def test_pictures_are_encoded_only_when_somebody_looks(server: PageServer, health: Health) -> None:
    """Frames without a watcher cost nothing; several watchers of one frame share one JPEG."""
    encoded: list[Result] = []
    real = server.snapshots._encode

    def count(result: Result) -> Picture:
        encoded.append(result)
        return real(result)

    server.snapshots._encode = count  # type: ignore[method-assign]
    health.names = lambda: (("a", "b"), ("a", "b"))  # type: ignore[method-assign]
    for index in range(5):
        finish_frame(health, index)
    assert encoded == []
    watchers = [threading.Thread(target=get, args=(server, "/snapshot.jpg")) for _ in range(4)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(5)
    assert len(encoded) == 1 and encoded[0].frame.index == 4


def test_stream(server: PageServer, health: Health) -> None:
    """The stream sends each new picture as a part, and ends when the server stops."""
    health.names = lambda: (("a", "b"), ("a", "b"))  # type: ignore[method-assign]
    finish_frame(health, 0)
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    connection.request("GET", "/stream.mjpg")
    answer = connection.getresponse()
    assert answer.getheader("Content-Type") == "multipart/x-mixed-replace; boundary=frame"
    for index in range(3):
        finish_frame(health, index + 1)
        assert answer.readline() == b"--frame\r\n"
        head = {}
        while (line := answer.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            head[name] = value
        assert head["Content-Type"] == "image/jpeg"
        assert cv2.imdecode(np.frombuffer(answer.read(int(head["Content-Length"])), np.uint8), 1) is not None
        assert answer.readline() == b"\r\n"
    connection.close()


def test_page_and_its_files_are_whole(server: PageServer) -> None:
    """The page loads nothing from elsewhere, and every file and element id it uses exists."""
    status, headers, body = get(server, "/")
    page = body.decode()
    assert status == 200 and "default-src 'self'" in headers["Content-Security-Policy"]
    ids: list[str | None] = []
    files: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            values = dict(attrs)
            ids.append(values.get("id"))
            files.extend(v for k, v in attrs if k in ("src", "href") and v and not v.startswith("data:"))

    Links().feed(page)
    for file in files:
        assert "//" not in file
        if file != "stream.mjpg":
            assert get(server, f"/{file}")[0] in (200, 503), file
    script = get(server, "/page.js")[2].decode()
    for text in (page, script, get(server, "/page.css")[2].decode()):
        assert "http://" not in text and "https://" not in text
    for used in re.findall(r'(?:at|say)\("(\w+)"', script):
        assert used in ids, used
    colours = re.findall(r'"#(\w{6})"', script)
    assert [tuple(bytes.fromhex(colour))[::-1] for colour in colours] == list(CLASS_COLOURS_BGR)
    assert (Path(board_app.web.__file__).parent / "page.html").read_bytes() == body


@pytest.mark.parametrize("path", ["/nothing", "/../cli.py", "/web/page.html", "/%2e%2e/cli.py", "/server.py"])
def test_nothing_else_is_served(server: PageServer, path: str) -> None:
    """Any other path is answered with 404, and what there is."""
    status, _, body = get(server, path)
    assert status == 404 and "/healthz" in json.loads(body)["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_is_read_only(server: PageServer, method: str) -> None:
    """No method changes anything."""
    assert get(server, "/healthz", method)[0] == 501


def test_head_has_no_body(server: PageServer) -> None:
    """HEAD gives the headers alone."""
    status, headers, body = get(server, "/", "HEAD")
    assert status == 200 and body == b"" and int(headers["Content-Length"]) > 500
    status, headers, body = get(server, "/stream.mjpg", "HEAD")
    assert status == 200 and body == b"" and headers["Content-Type"].startswith("multipart/")


def test_a_taken_port(server: PageServer, health: Health) -> None:
    """A port that is taken is refused when asked for, and replaced when it was only the default."""
    address = ("127.0.0.1", int(server.server_address[1]))
    with pytest.raises(UsageError, match=r"expected an address that is free here.*Take another port"):
        start_server(address, health, fall_back=False)
    other = start_server(address, health, fall_back=True)
    assert other.server_address[1] not in (0, address[1])
    other.stop()


def test_ipv6(health: Health) -> None:
    """The page can be on an IPv6 address, and its URL is written as browsers want it."""
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("needs IPv6 here")
    server = start_server(("::1", 0), health, fall_back=False)
    assert server.url == f"http://[::1]:{server.server_address[1]}/"
    server.stop()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        (":0", ("", 0)),
        ("[::1]:80", ("::1", 80)),
        ("localhost", None),
        ("a:b", None),
        ("a:70000", None),
    ],
)
def test_listen(text: str, address: tuple[str, int] | None) -> None:
    """HOST:PORT in its forms; anything else is a usage error."""
    if address is not None:
        assert parse_listen(text) == address
    else:
        with pytest.raises(UsageError, match="expected HOST:PORT"):
            parse_listen(text)
