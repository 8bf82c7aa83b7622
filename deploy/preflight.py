"""Everything that would stop a deployment, found before anything is sent, and reported at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_app.core.bundle import Bundle
from deploy.board import Board
from deploy.errors import PreflightError
from deploy.manifest import Release, StartSettings
from deploy.release import Releases
from deploy.service import Service
from dpu import xmodel
from dpu.compatibility import compile_remedy
from dpu.errors import DpuError
from dpu.summary import dpu_fingerprint, hexadecimal

MIN_PYTHON = (3, 9)  # of the Vitis AI 2.5 and 3.0 images
SPARE_BYTES = 16 * 2**20  # for logs and detections of the first hours
CHECK_TIMEOUT_S = 60.0  # a first `import cv2` from an SD card takes seconds
_SCRIPT = Path(__file__).with_name("board_check.py")
_MARK = "roadslim-check "
_REMEDIES = {
    "numpy": "Use the Vitis AI image for the board, which has it.",
    "cv2": "Use the Vitis AI image for the board, which has OpenCV's Python module.",
    "xir": "Install the Vitis AI runtime of the image's version on the board (vai_runtime's setup.sh).",
    "vart": "Install the Vitis AI runtime of the image's version on the board (vai_runtime's setup.sh).",
}


@dataclass(frozen=True)
class Problem:
    """One reason why the board is not ready: what was expected, what was found, what to do."""

    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"expected {self.expected}, found {self.found}. {self.remedy}"


@dataclass(frozen=True)
class BoardState:
    """What the board was found to be; `findings` has the fields of board_check.py."""

    findings: dict[str, Any]

    @property
    def python(self) -> str:
        """Its Python's version, such as `3.9.2`."""
        return ".".join(map(str, self.findings["python"]))

    def __str__(self) -> str:
        free_mb = self.findings["disk_free_bytes"] / 1e6
        return f"Python {self.python} on {self.findings['machine']}, {free_mb:,.0f} MB free"


def check_board(board: Board, releases: Releases, service: Service, bundle: Bundle, release: Release) -> BoardState:
    """Check everything, change nothing.

    Raises:
        PreflightError: with every problem found.
        ConnectionFailed: the connection broke.
    """
    start = release.start
    asked = {"folder": releases.root, "host": start.host, "port": start.port}
    result = board.run(["python3", "-", json.dumps(asked)], _SCRIPT.read_bytes(), timeout_s=CHECK_TIMEOUT_S)
    line = next((line for line in result.stdout.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        what = (result.stderr or result.stdout).strip().splitlines()[-1:] or ["no output"]
        version = ".".join(map(str, MIN_PYTHON))
        problem = Problem(
            f"a python3 of version {version} or newer on the board",
            f"none that works ({what[0]})",
            "Use the Vitis AI image for the board, which has it.",
        )
        raise _not_ready(board, [problem])
    state = BoardState(json.loads(line[len(_MARK) :]))
    problems = [
        *_software(state),
        *_room(board, state, releases, release),
        *_port(state, releases, service, release),
        *_model(state, bundle),
    ]
    if problems:
        raise _not_ready(board, problems)
    return state


def _not_ready(board: Board, problems: list[Problem]) -> PreflightError:
    listing = "".join(f"\n  - {problem}" for problem in problems)
    return PreflightError(f"{board.address} is not ready, nothing was sent:{listing}")


def _software(state: BoardState) -> Iterator[Problem]:
    if tuple(state.findings["python"]) < MIN_PYTHON:
        version = ".".join(map(str, MIN_PYTHON))
        yield Problem(f"Python {version} or newer", state.python, "Use the image of Vitis AI 2.5 or 3.0.")
    for name, error in state.findings["imports"].items():
        if error is not None:
            yield Problem(f"that Python can import {name}", error, _REMEDIES[name])
    if state.findings["missing_tools"]:
        missing = ", ".join(state.findings["missing_tools"])
        yield Problem("the usual tools", f"no {missing}", "Install coreutils and util-linux, or BusyBox with them.")


def _room(board: Board, state: BoardState, releases: Releases, release: Release) -> Iterator[Problem]:
    above = state.findings["folder_above"]
    if not state.findings["writable"]:
        remedy = f"Give another --dir, or the folder to {board.address.user}; a read-only card may be failing."
        yield Problem(f"that {board.address.user} may write to {above}", "that it may not", remedy)
    needed = 2 * release.bytes + SPARE_BYTES
    free = state.findings["disk_free_bytes"]
    if free < needed:
        yield Problem(
            f"{needed / 1e6:.1f} MB free at {above}",
            f"{free / 1e6:.1f} MB",
            f"Remove old recordings ({releases.path('shared')}), or give another --dir.",
        )


def _port(state: BoardState, releases: Releases, service: Service, release: Release) -> Iterator[Problem]:
    error = state.findings["port_error"]
    if error is None:
        return
    running = service.running()
    document = releases.document(running.release) if running else None
    if document is not None and StartSettings.of(document).port == release.start.port:
        return
    yield Problem(
        f"to listen on {release.start.listen}", f"that it cannot be ({error})", "Choose another: --listen HOST:PORT"
    )


def _model(state: BoardState, bundle: Bundle) -> Iterator[Problem]:
    try:
        fingerprint = dpu_fingerprint(xmodel.load(bundle.model_path))
    except DpuError as error:
        yield Problem("a model that can be read", str(error), "Make the bundle again: roadslim compress CONFIG")
        return
    board_has = state.findings["dpu_fingerprints"]
    if not board_has:
        return
    recompile = f"Compile the quantised bundle for that DPU: {compile_remedy(int(board_has[0], 16))}"
    if bundle.spec.kind != "compiled":
        yield Problem(f"a model compiled for the board's DPU {board_has[0]}", "a quantised one", recompile)
    elif fingerprint and hexadecimal(fingerprint) not in board_has:
        yield Problem(f"a model for the board's DPU {board_has[0]}", f"one for {hexadecimal(fingerprint)}", recompile)
