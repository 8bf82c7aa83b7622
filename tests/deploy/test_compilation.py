"""`roadslim compile`, whole, on stand-ins for the container engine and for what is in the container."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from board_app.core.atomic_file import sha256_of
from board_app.core.bundle import Bundle, load_bundle, write_bundle
from compress.darknet.model_files import save_model
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import random_cfg, randomise
from compress.quantization import quantize, to_xmodel
from compress.vitis.testing import FAULT, STATE, install
from compress.vitis.testing.vai_c_xir import compiled_form
from dpu import xmodel
from dpu.architecture import ISA0_B4096_BG2, ISA1_B4096_VAI25, ISA1_B4096_VAI30
from dpu.summary import dpu_fingerprint
from roadslim import main

Compile = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder: the float network in distill/, its bundle, and calibration images."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    network = randomise(DarknetNetwork(random_cfg(34, 6, (32, 32), slope=26 / 256)), seed=3)
    paths = save_model(network, run / "distill")
    images = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    (run / "images").mkdir()
    for index, image in enumerate(images):
        cv2.imwrite(str(run / "images" / f"{index}.png"), image)
    rgb = torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
    quantized = quantize(network, [rgb[:4], rgb[4:]])
    fields = {
        "name": "tiny",
        "roadslim_version": "0",
        "kind": "quantised",
        "classes": ["a", "b"],
        "input_hw": [32, 32],
        "channel_order": "RGB",
        "pixel_scale": 1 / 255,
        "letterbox_grey": 128,
        "input": {"tensor": quantized.input_tensor, "fix_point": quantized.input_fix_point},
        "heads": [
            {"output": at.tensor, "stride": head.stride, "anchors": head.anchors, "fix_point": at.fix_point}
            for at, head in zip(quantized.heads, network.heads, strict=True)
        ],
        "confidence_threshold": 0.25,
        "iou_threshold": 0.45,
        "max_detections": 300,
        "origin": {"run": "tiny", **{path.name: sha256_of(path) for path in paths}},
        "accuracy": {"map50_float": 0.9, "map50_int8": 0.8, "map50_int8_origin": "simulated"},
    }
    write_bundle(run / "bundle" / "tiny.bundle", fields, xmodel.dumps(to_xmodel(quantized, "tiny")), ["A", "B"])
    return run


@pytest.fixture
def bundle(run_folder: Path) -> Bundle:
    """The run's bundle."""
    return load_bundle(run_folder / "bundle" / "tiny.bundle")


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """docker and podman stand-ins in front on PATH; the folder is where they write what they were asked."""
    state = tmp_path / "engines"
    install(tmp_path / "programs", "docker", "podman")
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}{os.pathsep}{os.environ['PATH']}")
    state.mkdir()
    monkeypatch.setenv(STATE, str(state))
    monkeypatch.chdir(tmp_path)
    return state


@pytest.fixture
def compile_(engines: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> Compile:
    """Runs `roadslim compile` on the bundle: exit code, stdout, stderr."""

    def run(*flags: str, path: Path | None = None) -> tuple[int, str, str]:
        try:
            exit_code = main(["compile", str(path or bundle.path), *flags])
        except SystemExit as end:
            exit_code = int(end.code or 0)
        captured = capsys.readouterr()
        return exit_code, captured.out, captured.err

    return run


def equal(images: int) -> dict[str, float]:
    """A comparison in the report where every number is equal."""
    return {"images": images, "equal_share": 1.0, "max_abs_difference": 0.0, "relative_error": 0.0}


def nothing_left(folder: Path, *kept: str) -> None:
    """Nothing of a failed compilation is there but what is named."""
    found = {path.name for path in folder.iterdir()} - {"engines", "programs"}
    assert found == set(kept)


def test_compiles_the_bundles_own_model(compile_: Compile, bundle: Bundle, tmp_path: Path, engines: Path) -> None:
    """The quantised model goes through the compiler as it is: equal numbers, accuracy and heads kept, DPU named."""
    exit_code, out, err = compile_("--board", "zcu104", "--json")
    assert exit_code == 0, err
    report = json.loads(out)
    assert report["result"] == "compiled" and report["error"] is None
    assert report["fingerprint"] == "0x101000056010407"
    assert report["compiled_and_quantised"] == equal(images=2)
    assert [step["name"] for step in report["steps"]] == ["check", "compile", "verify", "bundle"]
    compiled = load_bundle(tmp_path / "tiny-zcu104.bundle")
    assert compiled.model_sha256 == report["model_sha256"] != bundle.model_sha256
    assert compiled.spec.kind == "compiled" and compiled.spec.accuracy == bundle.spec.accuracy
    assert compiled.spec.origin["dpu_fingerprint"] == "0x101000056010407"
    assert compiled.spec.origin["quantised_model_sha256"] == bundle.model_sha256
    assert compiled.spec.heads == bundle.spec.heads and compiled.labels == bundle.labels
    assert dpu_fingerprint(xmodel.load(compiled.model_path)) == ISA1_B4096_VAI30
    assert "VITIS_AI Compilation" in (tmp_path / "tiny-zcu104.bundle.log").read_text()
    nothing_left(tmp_path, "tiny-zcu104.bundle", "tiny-zcu104.bundle.log")
    (call,) = [line for line in (engines / "calls").read_text().splitlines() if line.startswith("run ")]
    assert f"--user={os.getuid()}:{os.getgid()} " in call and "--network=none " in call
    assert "target=/job/input,readonly " in call


def test_amds_quantiser_on_the_runs_network(compile_: Compile, tmp_path: Path, run_folder: Path) -> None:
    """The float network is found by the hashes in the bundle's origin, calibrated, exported, compiled and compared."""
    flags = ("--quantizer", "vitis", "--calibration", str(run_folder / "images"), "--engine", "podman", "--json")
    exit_code, out, err = compile_("--fingerprint", "0x101000016010407", "--out", "new.bundle", *flags)
    assert exit_code == 0, err
    report = json.loads(out)
    assert [step["name"] for step in report["steps"]] == "check calibrate export compile verify bundle".split()
    assert report["vitis_and_roadslim"] == equal(images=6)
    compiled = load_bundle(tmp_path / "new.bundle")
    assert dpu_fingerprint(xmodel.load(compiled.model_path)) == ISA1_B4096_VAI25
    assert compiled.spec.accuracy == {"map50_float": 0.9}, "int8 accuracy of this quantisation was not measured"
    assert compiled.spec.origin["quantizer"] == "vitis"


@pytest.mark.slow
def test_another_network_is_seen(compile_: Compile, run_folder: Path, tmp_path: Path) -> None:
    """A float network that is named is taken; how far its int8 answers are from the bundle's is in the report."""
    network = randomise(DarknetNetwork(random_cfg(34, 6, (32, 32), slope=26 / 256)), seed=4)
    cfg, weights = save_model(network, tmp_path / "another")
    flags = ("--quantizer", "vitis", "--calibration", str(run_folder / "images"), "--bias-correction", "off")
    named = ("--cfg", str(cfg), "--weights", str(weights), "--batch", "1", "--json")
    exit_code, out, err = compile_("--out", "new.bundle", *flags, *named)
    assert exit_code == 0, err
    report = json.loads(out)
    assert 0 < report["vitis_and_roadslim"]["equal_share"] < 1
    assert report["vitis_and_roadslim"]["max_abs_difference"] > 0
    assert report["compiled_and_quantised"]["equal_share"] == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("daemon_down", "expected docker to answer, found: Cannot connect to the Docker daemon"),
        ("no_image", "expected the image roadslim-vitis:3.5, found none. Build it once, with about 20 GB"),
    ],
)
def test_refuses_early(
    compile_: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, expected: str
) -> None:
    """Without an engine that answers or its image nothing is begun, and the remedy is named."""
    monkeypatch.setenv(FAULT, fault)
    exit_code, _, err = compile_()
    assert exit_code == 1 and expected in err
    nothing_left(tmp_path)


def test_no_engine(compile_: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without docker and podman the error says how to get on."""
    monkeypatch.setenv("PATH", "")
    exit_code, _, err = compile_()
    assert exit_code == 1 and "expected the container engine docker, found no such program. Install Docker" in err
    nothing_left(tmp_path)


def test_disk_full(compile_: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for the job is asked for before anything is written."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1_000_000))  # type: ignore[attr-defined]
    exit_code, _, err = compile_()
    assert exit_code == 1 and "MB free at" in err and "found 1 MB" in err
    nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("no_front_end", "It printed 'NO FRONT END SPECIFIED'"),
        ("two_subgraphs", "expected one DPU subgraph in the compiled model, found 2"),
        ("other_fingerprint", "expected a model for DPU 0x101000056010407, found that vai_c_xir compiled one for"),
    ],
)
def test_what_goes_wrong_in_the_container(
    compile_: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, expected: str
) -> None:
    """The container's error comes out with the log's path; the log stays, nothing else does."""
    monkeypatch.setenv(FAULT, fault)
    exit_code, out, err = compile_("--out", "new.bundle", "--json")
    report = json.loads(out)
    assert report["result"] == "failed" and expected in report["error"]
    assert exit_code == 1 and expected in err and f"The log: {tmp_path / 'new.bundle.log'}" in err
    assert "VITIS_AI Compilation" in (tmp_path / "new.bundle.log").read_text()
    nothing_left(tmp_path, "new.bundle.log")


def test_an_older_result_survives(compile_: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed compilation leaves the bundle of an earlier one as it was."""
    assert compile_("--out", "new.bundle")[0] == 0
    before = load_bundle(tmp_path / "new.bundle").model_sha256
    monkeypatch.setenv(FAULT, "crash")
    assert compile_("--out", "new.bundle", "--board-image", "2.5")[0] == 1
    assert load_bundle(tmp_path / "new.bundle").model_sha256 == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(engines: Path, bundle: Bundle, tmp_path: Path, number: signal.Signals) -> None:
    """An interrupt removes the container, then ends with 130; only the log is left."""
    environment = {**os.environ, FAULT: "slow", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "roadslim", "compile", str(bundle.path), "--out", "new.bundle"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        log = tmp_path / "new.bundle.log"
        until(lambda: log.exists() and "VITIS_AI Compilation" in log.read_text())
        (container,) = engines.glob("roadslim-new-*")
        inside = int(container.read_text())
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "roadslim compile: interrupted." in err
    assert f"rm --force {container.name}" in (engines / "calls").read_text()
    until(lambda: not is_running(inside))
    nothing_left(tmp_path, "new.bundle.log")


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another process."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process of that number is alive; one that nobody has waited for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("flags", "exit_code", "expected"),
    [
        (["--board", "zcu999"], 2, "found 'zcu999'"),
        (["--board-image", "2.9"], 2, "expected one of 2.0, 2.5, 3.0, 3.5, found 2.9"),
        (["--board-image", "2.0"], 2, "found 0x1000020f6014407, DPUCZDX8G of ISA 0. Vitis AI 3.5 does not compile"),
        (["--fingerprint", "0x603000b16011861"], 2, "DPUCVDX8G"),
        (["--fingerprint", "zcu104"], 2, "expected a fingerprint such as 0x101000056010407"),
        (["--fingerprint", "0x101000056010407", "--board-image", "3.0"], 2, "which says all"),
        (["--quantizer", "vitis", "--batch", "0"], 2, "--batch: expected 1 or more"),
        (["--calibration", "images", "--batch", "2"], 2, "--calibration, --batch: expected with --quantizer vitis"),
        (["--bias-correction", "on"], 2, "--bias-correction: expected with --quantizer vitis"),
        (["--out", "programs"], 2, "expected a bundle or nothing at programs, found something else"),
        (["--out", "no/new.bundle"], 2, "found no "),
        (["--quantizer", "vitis"], 2, "--calibration FOLDER"),
        (["--quantizer", "vitis", "--cfg", "a.cfg"], 2, "expected --cfg and --weights, found one of them"),
        (["--quantizer", "vitis", "--calibration", "engines"], 1, "expected images in engines, found none"),
        (["--quantizer", "vitis", "--calibration", "no"], 1, "expected a folder, found none at no"),
    ],
)
def test_what_cannot_end_well(compile_: Compile, flags: list[str], exit_code: int, expected: str) -> None:
    """Wrong wishes are refused before a container starts."""
    code, _, err = compile_(*flags)
    assert code == exit_code and expected in err


def test_bundles_that_cannot_be_compiled(compile_: Compile, bundle: Bundle, tmp_path: Path, run_folder: Path) -> None:
    """A compiled bundle, the bundle's own place, and a moved bundle without its float network are told apart."""
    assert "expected another path" in compile_("--out", str(bundle.path))[2]
    assert compile_("--out", "compiled.bundle")[0] == 0
    code, _, err = compile_(path=tmp_path / "compiled.bundle")
    assert code == 1 and "expected a quantised bundle, found a compiled one" in err
    shutil.copytree(bundle.path, tmp_path / "moved" / "bundle" / "tiny.bundle")
    flags = ("--quantizer", "vitis", "--calibration", str(run_folder / "images"))
    code, _, err = compile_(*flags, path=tmp_path / "moved" / "bundle" / "tiny.bundle")
    assert code == 1 and "Give it: --cfg FILE --weights FILE" in err
    code, _, err = compile_(*flags, "--cfg", "a.cfg", "--weights", "a.safetensors")
    assert code == 2 and "roadslim export --cfg a.cfg --weights a.safetensors --to weights NAME.weights" in err


def test_a_job_folder_in_the_way(compile_: Compile, tmp_path: Path) -> None:
    """Another compilation at the same place, or one that was killed, is named and left alone."""
    (tmp_path / "new.bundle.job").mkdir()
    code, _, err = compile_("--out", "new.bundle")
    assert code == 2 and "another `roadslim compile` is at work there" in err
    assert (tmp_path / "new.bundle.job").is_dir()


@pytest.mark.parametrize("quantizer", ["roadslim", "vitis"])
def test_print_needs_no_engine(
    compile_: Compile, monkeypatch: pytest.MonkeyPatch, engines: Path, run_folder: Path, quantizer: str
) -> None:
    """--print gives the build and run commands, quoted for a shell, without docker."""
    monkeypatch.setenv("PATH", "")
    calibration = ["--calibration", str(run_folder / "images")] if quantizer == "vitis" else []
    code, out, _ = compile_("--print", "--quantizer", quantizer, "--out", "my bundle.bundle", *calibration)
    assert code == 0
    assert "docker build --file=" in out and "--tag=roadslim-vitis:3.5" in out
    runs = [line for line in out.splitlines() if line.startswith("docker run --rm --name=roadslim-my-bundle-")]
    assert len(runs) == (1 if quantizer == "roadslim" else 3)
    assert (
        "'--mount=type=bind,source=" in runs[0] and "my bundle.bundle.job/input,target=/job/input,readonly'" in runs[0]
    )
    assert runs[-1].endswith(f"compile --fingerprint=0x101000056010407 --quantizer={quantizer}")
    assert not (engines / "calls").exists()


def test_printed_commands_do_the_job(compile_: Compile, engines: Path, bundle: Bundle, tmp_path: Path) -> None:
    """The printed lines, run by a shell, leave the same bundle as without --print, and nothing else."""
    _, out, _ = compile_("--print", "--out", "by hand.bundle")
    script = f'roadslim() {{ "{sys.executable}" -m roadslim "$@"; }}\n{out}'
    subprocess.run(["sh", "-e", "-c", script], check=True, cwd=tmp_path, capture_output=True)
    made = load_bundle(tmp_path / "by hand.bundle")
    assert dpu_fingerprint(xmodel.load(made.model_path)) == ISA1_B4096_VAI30
    assert made.spec.accuracy == bundle.spec.accuracy and made.spec.heads == bundle.spec.heads
    nothing_left(tmp_path, "by hand.bundle")


def test_print_checks_first(compile_: Compile) -> None:
    """What would be refused without --print is refused with it, the engine aside."""
    code, out, err = compile_("--print", "--quantizer", "vitis", path=Path("nowhere.bundle"))
    assert code != 0 and not out and "nowhere.bundle" in err
    code, out, err = compile_("--print", "--quantizer", "vitis")
    assert code == 2 and not out and "--calibration FOLDER" in err


def test_a_model_compiled_elsewhere(compile_: Compile, bundle: Bundle, tmp_path: Path) -> None:
    """--compiled refuses a model for another DPU, and what cannot go with it."""
    code, _, err = compile_("--compiled", str(bundle.model_path))
    assert code == 1 and "not compiled for a DPU" in err
    code, _, err = compile_("--compiled", str(bundle.model_path), "--print")
    assert code == 2 and "expected without --print" in err
    nothing_left(tmp_path)


def test_a_model_compiled_by_an_old_vitis(compile_: Compile, bundle: Bundle, tmp_path: Path) -> None:
    """A DPU of ISA 0, which the container does not compile for, takes a model that was compiled by hand."""
    model, made = tmp_path / "by_hand.xmodel", tmp_path / "old.bundle"
    graph = xmodel.load(bundle.model_path)
    xmodel.save(compiled_form(graph, ISA0_B4096_BG2), model)
    flags = ("--board", "zcu104", "--board-image", "2.0", "--out", str(made))
    assert compile_(*flags)[0] == 2
    code, _, err = compile_(*flags, "--compiled", str(model))
    assert code == 0, err
    assert load_bundle(made).spec.origin["dpu_fingerprint"] == "0x1000020f6014407"


def test_a_comma_in_the_path(compile_: Compile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A mount's fields are separated by commas, so a path with one is refused."""
    (tmp_path / "a,b").mkdir()
    code, _, err = compile_("--out", "a,b/new.bundle")
    assert code == 2 and "expected a path without a comma" in err


def test_daemon_that_never_answers(compile_: Compile, engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that hangs is given up after a while."""
    program = engines.parent / "programs" / "docker"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr("deploy.container._ANSWER_TIMEOUT_S", 0.3)
    code, _, err = compile_()
    assert code == 1 and "expected docker to answer, found: no answer in" in err
