"""A small HTTP server: the page and its files, /healthz, /api/state, /snapshot.jpg, /stream.mjpg.

Nothing can be changed through it. Without a flag it listens on this machine alone.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, Optional, Tuple
from urllib.parse import urlsplit

from board_app import __version__
from board_app.core.errors import UsageError
from board_app.health import Health
from board_app.web.snapshot import Snapshots

_log = logging.getLogger(__name__)

_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_BOUNDARY = "frame"
_MOST_STREAMS = 4  # each watcher of /stream.mjpg holds a thread
_IDLE_TIMEOUT_S = 20.0


class PageServer(ThreadingHTTPServer):
    """Serves the health of one application.

    Args:
        address: host and port; port 0 takes a free one.
        health: what to show.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: Tuple[str, int], health: Health) -> None:
        self.health = health
        self.snapshots = Snapshots(health)
        self.streams = threading.BoundedSemaphore(_MOST_STREAMS)
        self.ended = threading.Event()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="web", daemon=True)

    @property
    def url(self) -> str:
        """Where to look."""
        host, port = self.server_address[:2]
        shown = host.decode() if isinstance(host, (bytes, bytearray)) else str(host)
        shown = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(shown, shown)  # noqa: S104
        return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"

    def start(self) -> None:
        """Serve from a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Serve no more; streams end with their next picture."""
        self.ended.set()
        self.shutdown()
        self.server_close()
        self._thread.join(2.0)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version = f"roadslim/{__version__}"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_TIMEOUT_S

    def do_GET(self) -> None:
        """Answer one request."""
        path = urlsplit(self.path).path
        if path in _FILES:
            name, kind = _FILES[path]
            self._answer(200, kind, (Path(__file__).parent / name).read_bytes())
        elif path == "/healthz":
            document = self.server.health.healthz()
            self._answer_json(200 if document["healthy"] else 503, document)
        elif path == "/api/state":
            self._answer_json(200, self.server.health.state())
        elif path == "/snapshot.jpg":
            self._answer_snapshot()
        elif path == "/stream.mjpg":
            self._stream()
        else:
            self._answer_json(
                404,
                {
                    "error": f"expected one of {', '.join(_FILES)}, /healthz, /api/state, "
                    f"/snapshot.jpg, /stream.mjpg, found {path}"
                },
            )

    do_HEAD = do_GET

    def _answer(self, status: int, kind: str, body: bytes, headers: Optional[Dict[str, str]] = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self._send_common_headers()
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_common_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'self'; img-src 'self' blob: data:")

    def _answer_json(self, status: int, document: Dict[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(document).encode())

    def _answer_snapshot(self) -> None:
        picture = self.server.snapshots.latest()
        if picture is None:
            self._answer_json(503, {"error": "expected a picture, found none yet; ask again soon"})
        else:
            self._answer(200, "image/jpeg", picture.jpeg, {"X-Frame": str(picture.index)})

    def _stream(self) -> None:
        if not self.server.streams.acquire(blocking=False):
            self._answer_json(
                503, {"error": f"expected at most {_MOST_STREAMS} watchers, found more; use /snapshot.jpg"}
            )
            return
        self.close_connection = True
        try:
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self._send_common_headers()
            self.end_headers()
            shown = None
            while self.command != "HEAD" and not self.server.ended.is_set():
                picture = self.server.snapshots.after(shown, timeout_s=1.0)
                if picture is None:
                    continue
                shown = picture.index
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + picture.jpeg + b"\r\n")
        finally:
            self.server.streams.release()

    def handle(self) -> None:
        """Answer the requests of one connection; one that breaks off is no error."""
        try:
            super().handle()
        except (ConnectionError, socket.timeout):
            _log.debug("a watcher went away")

    def log_message(self, format: str, *args: Any) -> None:
        """Requests go to the log's finest level."""
        _log.debug("%s %s", self.address_string(), format % args)


def parse_listen(text: str) -> Tuple[str, int]:
    """Host and port of HOST:PORT, [IPv6]:PORT or :PORT.

    Raises:
        UsageError: it is none of these.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen {text}: expected HOST:PORT such as 127.0.0.1:8080 or 0.0.0.0:8080. Correct it.")
    return host.strip("[]"), int(port)


def start_server(address: Tuple[str, int], health: Health, fall_back: bool) -> PageServer:
    """Start serving.

    Args:
        address: host and port; port 0 takes a free one.
        health: what to show.
        fall_back: when the port is taken, take a free one and say so in the log.
    Raises:
        UsageError: the address cannot be listened on.
    """
    try:
        server = PageServer(address, health)
    except OSError as error:
        if not fall_back:
            raise UsageError(
                f"--listen {address[0]}:{address[1]}: expected an address that is free here, found: {error.strerror}. "
                "Take another port, or 0 for any free one."
            ) from None
        _log.warning("port %d is taken, the page moves to another", address[1])
        server = PageServer((address[0], 0), health)
    server.start()
    return server
