"""A whole run in miniature: every stage, skipping, killing, a full disk."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from board_app.core.bundle import load_bundle
from compress.config import load_config
from compress.stages import STAGE_NAMES, run_stages
from compress.stages.folder import StageFolder
from dpu import xmodel
from dpu.executor import Executor

KILLS = 5


def compress(config: Path, *flags: str) -> subprocess.Popen[str]:
    """`roadslim compress` in a process of its own."""
    command = [sys.executable, "-m", "roadslim", "compress", str(config), *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def networks(run: Path) -> dict[str, str]:
    """Hashes of every network and graph of a finished run."""
    hashes = {}
    for stage in STAGE_NAMES:
        document = StageFolder(run, stage).read()
        assert document is not None, f"{stage} is not finished"
        for name, digest in document["outputs"].items():
            if name.endswith((".cfg", ".weights", ".xmodel")):
                hashes[f"{stage}/{name}"] = digest
    return hashes


@pytest.fixture(scope="module")
def finished_runs() -> dict[Path, dict[str, str]]:
    """Undisturbed runs by their dataset, so that a module pays for one only."""
    return {}


@pytest.fixture
def undisturbed(small_run: Callable[..., Path], small_data: Path, finished_runs: dict) -> dict[str, str]:
    """Hashes of a run that nothing disturbed."""
    if small_data not in finished_runs:
        config = load_config(small_run("undisturbed"))
        run_stages(config)
        finished_runs[small_data] = networks(config.folder)
    return finished_runs[small_data]


def test_every_stage_leaves_what_the_next_one_needs(small_run: Callable[..., Path]) -> None:
    """Networks, metrics, figures, the checked cut, the int8 graph, a bundle that loads, a summary."""
    config = load_config(small_run())
    summary = run_stages(config)
    folder = config.folder
    assert [row["model"] for row in summary["rows"]] == list(STAGE_NAMES)
    for stage in ("train", "sparsify", "distill"):
        assert (folder / stage / "metrics.jsonl").exists() and not (folder / stage / "checkpoint.pt").exists()
    figures = sorted(path.name for path in folder.rglob("figure*.svg"))
    assert [name[:7] for name in figures] == ["figure1", "figure2", "figure3", "figure4"]
    assert (folder / "sparsify" / "figure2_gammas.gif").exists()
    report = json.loads((folder / "prune" / "prune.json").read_text())
    assert report["compact_vs_masked_max_abs"] <= 1e-4 and report["blocks_removed"] == 2
    assert report["params_after"] < 0.6 * report["params_before"]
    bundle = load_bundle(folder / "bundle" / "small.bundle")
    executor = Executor(xmodel.load(bundle.model_path), engine="numpy")
    assert [head.output for head in bundle.spec.heads] == [tensor.name for tensor in executor.outputs]
    assert executor.inputs[0].name == bundle.spec.input_tensor
    assert json.loads((folder / "summary.json").read_text()) == summary


def test_a_finished_run_does_nothing_again(small_run: Callable[..., Path]) -> None:
    """Not one file is written anew, except the summary, which says the same."""
    config = load_config(small_run())
    first = run_stages(config)
    before = {path: path.stat().st_mtime_ns for path in config.folder.rglob("*") if path.parent != config.folder}
    assert run_stages(config) == first
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_changed_setting_runs_its_stage_and_those_after_it(small_run: Callable[..., Path]) -> None:
    """Another bundle threshold makes a new bundle and nothing else; another prune share all from sparsify on."""
    config = load_config(small_run())
    run_stages(config)

    def finished() -> dict[str, str]:
        return {stage: (config.folder / stage / "stage.json").read_text() for stage in STAGE_NAMES}

    before = finished()
    other = config.model_copy(update={"bundle": config.bundle.model_copy(update={"iou_threshold": 0.6})})
    run_stages(other)
    assert [stage for stage in STAGE_NAMES if finished()[stage] != before[stage]] == ["bundle"]


def kill_at_a_random_moment(config: Path, rng: random.Random) -> bool:
    """Start the run and kill it within the second after it took hold of its folder; false if it was done before."""
    lock = load_config(config).folder / ".lock"
    before = lock.stat().st_mtime_ns if lock.exists() else None
    process = compress(config)
    deadline = time.monotonic() + 60
    while process.poll() is None and (not lock.exists() or lock.stat().st_mtime_ns == before):
        assert time.monotonic() < deadline, "the run does not begin"
        time.sleep(0.01)
    time.sleep(rng.uniform(0.0, 1.0))
    alive = process.poll() is None
    process.kill()
    output, _ = process.communicate()
    assert alive or process.returncode == 0, output
    return alive


def test_killed_at_random_moments_a_run_ends_the_same(small_run: Callable[..., Path], undisturbed: dict) -> None:
    """Five SIGKILLs, then to the end: every network and the int8 graph are equal to the bit."""
    config = small_run("killed")
    rng = random.Random(os.environ.get("ROADSLIM_TEST_SEED", "7"))
    kills = 0
    while kills < KILLS:
        if kill_at_a_random_moment(config, rng):
            kills += 1
        else:
            shutil.rmtree(load_config(config).folder)  # it was faster than the kills: once more
    last = compress(config)
    output, _ = last.communicate(timeout=300)
    assert last.returncode == 0, output
    assert networks(load_config(config).folder) == undisturbed


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_what_was_finished_stays(small_run: Callable[..., Path], full_disk: Path) -> None:
    """Exit 1, one sentence with the remedy, no half-written file in a stage's place."""
    finished = full_disk / "small" / "train"
    finished.mkdir(parents=True)
    (finished / "model.cfg").write_text("from before")
    process = compress(small_run("full", runs=full_disk), "--until", "train")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "the disk is full" in output and "Free some space" in output
    assert (finished / "model.cfg").read_text() == "from before"
    assert not list(full_disk.rglob(".*.partial"))


def test_a_stage_alone_needs_its_predecessor(small_run: Callable[..., Path]) -> None:
    """`roadslim distill` on an empty run says what to run first."""
    command = [sys.executable, "-m", "roadslim", "distill", str(small_run())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Run `roadslim" in done.stderr and not done.stdout


def test_an_interrupt_leaves_the_run_to_be_gone_on_with(small_run: Callable[..., Path]) -> None:
    """Ctrl-C: exit 130 and a sentence; the same command then finishes."""
    config = small_run()
    process = compress(config)
    at_work = load_config(config).folder / "train.partial"
    while not at_work.exists():
        assert process.poll() is None, "it ended before it began"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "goes on from here" in output, output
    run_stages(load_config(config), until="train")
    assert (load_config(config).folder / "train" / "stage.json").exists()
