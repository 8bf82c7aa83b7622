"""The application as its own process on the software DPU, through the stand-ins for xir and vart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import board_app
import dpu
from board_app.core.bundle import Bundle, DetectorSpec, HeadSpec, load_bundle, write_bundle
from board_app.core.detector import Detector
from board_app.core.detector_json import spec_fields_of
from board_app.core.int8_input import quantise_pixels
from board_app.core.road_scenes import RoadDrive
from board_app.detections_file import record_of
from board_app.frames import Frame, Result, StageTimes
from dpu import xmodel
from dpu.executor import Executor
from dpu.graph import Attr
from dpu.lowering import lower
from dpu.testing import QuantisedGraph

CHECKOUT = Path(board_app.__file__).parents[1]
NOT_ON_THE_BOARD = "torch torchvision yaml rich paramiko pydantic matplotlib jinja2 compress deploy bench roadslim"
SITE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {forbidden!r}:
            raise AssertionError("the board has no module " + name)
        if name.split(".")[0] in {missing!r}:
            raise ImportError("the board has no module " + name)
sys.meta_path.insert(0, Blocked())
"""


def small_bundle(path: Path) -> Bundle:
    """A bundle of a network with random weights and two heads, at strides 8 and 16."""
    rng = np.random.default_rng(4)
    net = QuantisedGraph("small")

    def conv(name: str, source: str, depth: int, out: int, kernel: int, stride: int, activation: str | None) -> str:
        weights = rng.integers(-60, 60, (out, kernel, kernel, depth)).astype(np.int8)
        bias = rng.integers(-40, 40, out).astype(np.int8)
        return net.conv(name, source, weights, 8, bias, 5, 4, activation, stride)

    last = net.data("input_0", (1, 64, 96, 3), 6)
    for number, (depth, out) in enumerate(((3, 8), (8, 12), (12, 16))):
        last = conv(f"c{number}", last, depth, out, 3, 2, "leaky-relu")
    deep = conv("c3", last, 16, 16, 3, 2, "leaky-relu")
    fine_head = conv("fine", last, 16, 2 * 8, 1, 1, None)
    deep_head = conv("deep", deep, 16, 2 * 8, 1, 1, None)
    anchors = ((12.0, 20.0), (30.0, 24.0))
    spec = DetectorSpec(
        "small",
        ("a", "b", "c"),
        (64, 96),
        (HeadSpec(deep_head, 16, anchors, 4), HeadSpec(fine_head, 8, anchors, 4)),
        input_tensor="input_0_fix",
        input_fix_point=6,
        confidence_threshold=0.5,
    )
    return write_bundle(path, spec_fields_of(replace(spec, files={})), xmodel.dumps(net.graph()), ["A", "B", "C"])


def expected_records(bundle: Bundle, count: int) -> list[dict[str, Any]]:
    """What the executor, called without any of the application's threads, finds on the drive."""
    executor = Executor(lower(xmodel.load(bundle.model_path)))
    spec = bundle.spec

    def forward(picture: np.ndarray) -> list[np.ndarray]:
        pixels = quantise_pixels(picture, spec.input_fix_point, spec.pixel_scale)[None]
        heads = executor.run({spec.input_tensor: pixels})
        return [heads[head.output][0] * np.float32(2.0**-head.fix_point) for head in spec.heads]

    detector, road = Detector(spec, forward), RoadDrive(3, (120, 160), 15)
    records = []
    for index in range(count):
        image = road.frame(index).image_bgr
        records.append(record_of(Result(Frame(image, index), detector.detect(image), StageTimes(0, 0, 0, 0))))
    return records


@pytest.mark.parametrize("engine", ["onnxruntime", "numpy"])
def test_a_drive_on_the_software_dpu(tmp_path: Path, engine: str) -> None:
    """Own process, forbidden modules blocked, several threads: every detection is the plain executor's."""
    bundle = small_bundle(tmp_path / "small.bundle")
    missing = ["onnx", "onnxruntime"] if engine == "numpy" else []  # parts of the software DPU, where they are there
    (tmp_path / "site").mkdir()
    site = SITE.format(forbidden=NOT_ON_THE_BOARD.split(), missing=missing)
    (tmp_path / "site" / "sitecustomize.py").write_text(site)
    path = [str(tmp_path / "site"), str(dpu.stand_in_path()), str(CHECKOUT)]
    records = tmp_path / "d.jsonl"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "board_app", "--bundle", str(bundle.path), "--no-web", "--json", "--threads", "3"),
            *("--source", "drive:3?size=160x120&pace=off", "--max-frames", "8", "--detections", str(records)),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["frames_in"], summary["frames_done"], summary["frames_dropped"]) == (8, 8, 0)
    assert summary["model_sha256"] == load_bundle(bundle.path).model_sha256
    found = [json.loads(line) for line in records.read_text().splitlines()]
    expected = expected_records(bundle, 8)
    assert sum(len(record["class_id"]) for record in expected) > 8
    for one, other in zip(found, expected, strict=True):
        for key in ("frame", "boxes_xyxy", "confidence", "class_id", "track_id"):
            assert one[key] == other[key]


@pytest.mark.parametrize(
    ("model", "found"),
    [(b"no model", "bytes that do not parse"), (b"", "0 bytes without any"), (None, "0x101000016010400 is un-matched")],
    ids=["damaged", "empty", "of another DPU"],
)
def test_a_model_that_the_stand_ins_refuse(tmp_path: Path, model: bytes | None, found: str) -> None:
    """What the stand-ins raise reaches the user as a message with what to do, not as a traceback."""
    bundle = small_bundle(tmp_path / "small.bundle")
    if model is None:
        graph = lower(xmodel.load(bundle.model_path))
        assert graph.root is not None
        mark = {"dpu_fingerprint": Attr("uint64", 0x101000016010400)}
        children = tuple(
            replace(part, attrs={**part.attrs, **mark}) if part.device == "DPU" else part
            for part in graph.root.children
        )
        graph.root = replace(graph.root, children=children)
        model = xmodel.dumps(graph)
    write_bundle(bundle.path, spec_fields_of(bundle.spec), model, bundle.labels)
    done = subprocess.run(
        [sys.executable, "-m", "board_app", "--bundle", str(bundle.path), "--no-web", "--source", "fake:160x120"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(dpu.stand_in_path()), str(CHECKOUT)])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert found in done.stderr and "roadslim xmodel check" in done.stderr and "Traceback" not in done.stderr
