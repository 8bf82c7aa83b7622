"""A small real bundle, a fake application, and a board on loopback."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from board_app.core.bundle import Bundle, DetectorSpec, HeadSpec, write_bundle
from board_app.core.detector_json import spec_fields_of
from deploy.deployment import DeployOptions
from deploy.manifest import StartSettings
from deploy.steps import Steps
from deploy.testing import LoopbackBoard, free_port, loopback_board, why_no_board
from dpu import xmodel
from dpu.testing import QuantisedGraph

SOURCE = "drive:1?size=160x120&fps=10"


def _write_small_bundle(path: Path, name: str = "small", input_tensor: str = "input_0_fix") -> Bundle:
    """A bundle of a network with random weights and one head; with another input tensor the application refuses it."""
    rng = np.random.default_rng(4)
    net = QuantisedGraph("small")
    last = net.data("input_0", (1, 64, 96, 3), 6)
    last = net.random_conv("c0", last, 8, 3, rng, 4, stride=4)
    last = net.random_conv("c1", last, 8, 3, rng, 4, stride=4)
    head = net.random_conv("head", last, 2 * 8, 1, rng, 4, activation=None)
    spec = DetectorSpec(
        name,
        ("a", "b", "c"),
        (64, 96),
        (HeadSpec(head, 16, ((12.0, 20.0), (30.0, 24.0)), 4),),
        input_tensor=input_tensor,
        input_fix_point=6,
        confidence_threshold=0.9,
    )
    return write_bundle(path, spec_fields_of(replace(spec, files={})), xmodel.dumps(net.graph()), ["A", "B", "C"])


FAKE_APP = '''
"""Healthy after the first "frame"; `WRONG` makes it ill."""
import argparse, http.server, json, os, signal, sys, time
parser = argparse.ArgumentParser()
for flag in ("bundle", "source", "listen", "release", "detections"):
    parser.add_argument("--" + flag)
parser.add_argument("--loop", action="store_true")
args = parser.parse_args()
WRONG = {wrong!r}
print("version {version}, release", args.release, "in", os.getcwd(), file=sys.stderr, flush=True)
if WRONG == "exits":
    sys.exit("board_app: the DPU refuses the model")
if WRONG == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        healthy = WRONG != "ill"
        document = dict(release=args.release, healthy=healthy, reasons=[] if healthy else ["no frame yet"])
        document.update(version={version!r}, source=args.source, pid=os.getpid())
        body = json.dumps(document).encode()
        self.send_response(200 if healthy else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
host, _, port = args.listen.rpartition(":")
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
'''


def _write_fake_app(folder: Path, version: str = "1", wrong: str = "") -> Path:
    """A tiny application in place of board_app; `wrong`: `exits`, `ill` (never healthy), `stubborn` (no SIGTERM)."""
    package = folder / "board_app"
    (package / "web").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(FAKE_APP.format(version=version, wrong=wrong))
    (package / "web" / "page.html").write_text("<p>the same in every version</p>\n")
    return package


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Bundle]:
    """Writes a bundle that the real application runs on the stand-ins; refused with `input_tensor="another"`."""
    return lambda name, **changes: _write_small_bundle(tmp_path / f"{name}.bundle", name, **changes)


@pytest.fixture
def small_bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle that the real application runs on the stand-ins."""
    return make_bundle("small")


@pytest.fixture
def make_app(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny application in place of board_app, by version and what is wrong with it."""
    return lambda version="1", wrong="": _write_fake_app(tmp_path / f"app_{version}{wrong}", version, wrong)


@pytest.fixture
def fake_app(make_app: Callable[..., Path]) -> Path:
    """A healthy fake application, version 1."""
    return make_app()


@pytest.fixture
def new_steps() -> Callable[[], Steps]:
    """Makes steps that are shown to nobody."""
    return lambda: Steps(Console(file=io.StringIO(), width=200), Console(file=io.StringIO()))


@pytest.fixture
def board(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LoopbackBoard]:
    """A board on loopback that runs during the test; with parameter True one for the real application."""
    reason = why_no_board()
    if reason is not None:
        pytest.skip(reason)
    with loopback_board(tmp_path / "loopback", real_modules=getattr(request, "param", False)) as running:
        yield running


@pytest.fixture
def options(board: LoopbackBoard, fake_app: Path) -> Callable[..., DeployOptions]:
    """Makes the options of a deployment of the fake application to the board; keywords change them."""
    start = StartSettings(SOURCE, f"127.0.0.1:{free_port()}")

    def make(**changes: object) -> DeployOptions:
        common = DeployOptions(
            board.address, start, str(board.dir), board.identity, board.known_hosts, timeout_s=20.0, app_folder=fake_app
        )
        return replace(common, **changes)  # type: ignore[arg-type]

    return make
