"""The application as its own process, with everything blocked that the board does not have."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import board_app
from board_app.testing import write_fake_modules, write_squares_bundle

CHECKOUT = Path(board_app.__file__).parents[1]
BLOCKED = (
    "torch torchvision yaml rich paramiko pydantic onnx onnxruntime matplotlib jinja2 google "
    "compress deploy bench dpu roadslim"
).split()
SITE = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise AssertionError("the board has no module " + name)
sys.meta_path.insert(0, Blocked())
"""
SUMMARY = {
    "schema_version", "roadslim_version", "frames_in", "frames_done", "frames_dropped", "fps", "dpu_bound_fps",
    "latency_ms", "stages_ms", "peak_rss_mb", "origin",
}  # fmt: skip


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle for the fake DPU, the fake modules, and the block on everything else."""
    folder = tmp_path_factory.mktemp("board")
    bundle = write_squares_bundle(folder / "release" / "squares.bundle")
    write_fake_modules(folder / "modules", bundle, run_s=0.005)
    (folder / "modules" / "sitecustomize.py").write_text(SITE)
    (folder / "release" / "release.json").write_text('{"release": "20251124-abc"}')
    return folder


def command(board: Path, *args: str) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, "PYTHONPATH": f"{board / 'modules'}:{CHECKOUT}", "PYTHONWARNINGS": "error"}
    bundle = str(board / "release" / "squares.bundle")
    return [sys.executable, "-m", "board_app", "--bundle", bundle, *args], environment


def run(board: Path, *args: str) -> subprocess.CompletedProcess[str]:
    line, environment = command(board, *args)
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, cwd=board)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, the second with a red square, and a file that is none."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(3):
        image = np.full((64, 128, 3), 90, np.uint8)
        if number == 1:
            image[0:32, 32:64] = (0, 0, 255)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_the_block_works(board: Path) -> None:
    """An import of a forbidden module fails in that process, with the offender's name."""
    _, environment = command(board)
    done = subprocess.run([sys.executable, "-c", "import torch"], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "the board has no module torch" in done.stderr


def test_a_folder_of_images(board: Path, images: Path, tmp_path: Path) -> None:
    """Every readable image is detected, recorded and drawn; the damaged one is counted; the summary is complete."""
    records = tmp_path / "d.jsonl"
    records.write_text('{"frame":"of an earlier run"}\n')
    done = run(
        board, "--source", str(images), "--no-web", "--json",
        "--detections", str(records), "--annotated", str(tmp_path / "drawn"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert set(summary) >= SUMMARY and set(summary["stages_ms"]) == {"preprocess", "dpu", "postprocess"}
    for times in (summary["latency_ms"], *summary["stages_ms"].values()):
        assert set(times) == {"p50", "p99"}
    assert (summary["frames_in"], summary["frames_done"], summary["frames_dropped"]) == (3, 3, 0)
    assert summary["unreadable"] == 1 and "broken.png is no picture" in done.stderr
    assert summary["release"] == "20251124-abc" and summary["peak_rss_mb"] > 10
    assert summary["origin"] == "measured"  # the modules say nothing else
    earlier, *lines = [json.loads(line) for line in records.read_text().splitlines()]
    assert earlier == {"frame": "of an earlier run"}
    assert [(line["frame"], line["image"], len(line["class_id"])) for line in lines] == [
        (0, "0.png", 0),
        (1, "1.png", 1),
        (2, "2.png", 0),
    ]
    assert lines[1]["boxes_xyxy"] == [[32, 0, 64, 32]] and lines[1]["class_id"] == [0]
    assert sorted(os.listdir(tmp_path / "drawn")) == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_summary_to_read(board: Path) -> None:
    """Without --json the summary is for people, on stdout; the log is on stderr."""
    done = run(board, "--source", "fake:64x48", "--max-frames", "20", "--no-web", "--threads", "3")
    assert done.returncode == 0
    assert re.search(r"^frames +20 in, 20 done, 0 dropped", done.stdout, re.M)
    assert re.search(r"would allow [\d.]+ fps \(measured\)$", done.stdout, re.M)
    assert "on 3 thread(s)" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_live_until_a_signal(board: Path, number: signal.Signals, code: int) -> None:
    """Live, the page tells it is healthy; a signal ends it cleanly with the summary."""
    line, environment = command(
        board, "--source", "fake:64x48@50", "--listen", "127.0.0.1:0", "--json", "--release", "r9"
    )
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        match = re.search(r"live page at (http://127\.0\.0\.1:\d+/)", process.stderr.readline())
        assert match
        deadline = time.monotonic() + 20
        document: dict[str, Any] = {}
        while not document.get("healthy") and time.monotonic() < deadline:
            time.sleep(0.05)
            try:
                with urllib.request.urlopen(f"{match[1]}healthz", timeout=5) as answer:  # noqa: S310
                    document = json.load(answer)
            except urllib.error.HTTPError as error:
                assert error.code == 503
                error.close()
        assert document["healthy"] and document["release"] == "r9" and document["frames_done"] >= 1
        process.send_signal(number)
        output, log = process.communicate(timeout=20)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == code, log
    summary = json.loads(output)
    assert summary["frames_in"] == summary["frames_done"] + summary["frames_dropped"]
    assert summary["frames_done"] >= document["frames_done"]


def test_seconds(board: Path) -> None:
    """--seconds ends a live run by itself, exit 0."""
    done = run(board, "--source", "drive:1?size=160x120&fps=20", "--seconds", "0.5", "--no-web", "--json")
    assert done.returncode == 0, done.stderr
    assert 1 <= json.loads(done.stdout)["frames_done"] <= 11


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--source", "nowhere"], 1, "found no such file or folder"),
        (["--source", "drive:x"], 2, "expected drive:SEED"),
        (["--source", "fake:64x48", "--listen", "here"], 2, "expected HOST:PORT"),
        (["--source", "fake:64x48", "--threads", "0"], 2, "expected a whole number from 1, found 0"),
        (["--source", "fake:64x48", "--max-frames", "many"], 2, "expected a whole number from 1, found many"),
        (["--source", "fake:64x48", "--seconds", "long"], 2, "expected a number above 0, found long"),
        (["--source", "fake:64x48", "--confidence", "30"], 2, "expected a confidence between 0 and 1"),
        (["--source", "fake:64x48", "--detections", "."], 1, "expected a file in an existing folder"),
        (["--source", "fake:64x48", "--bundle", "no.bundle"], 1, "expected a bundle"),
        ([], 2, "--source"),
    ],
)
def test_errors(board: Path, args: list[str], code: int, message: str) -> None:
    """Each mistake gives one line on stderr, nothing on stdout, and its exit code; no traceback."""
    done = run(board, *args, *(["--no-web"] if "--listen" not in args else []))
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_changed_model_is_refused(board: Path, tmp_path: Path) -> None:
    """A bundle whose model has another hash never reaches the DPU."""
    bundle = write_squares_bundle(tmp_path / "changed.bundle")
    bundle.model_path.write_bytes(b"other")
    done = run(board, "--source", "fake:64x48", "--no-web", "--bundle", str(bundle.path))
    assert done.returncode == 1 and "expected SHA-256" in done.stderr


def test_full_disk(board: Path) -> None:
    """When the records cannot be written, the run ends with the reason."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    done = run(board, "--source", "fake:64x48", "--max-frames", "5", "--no-web", "--detections", "/dev/full")
    assert done.returncode == 1 and "No space left on device" in done.stderr
