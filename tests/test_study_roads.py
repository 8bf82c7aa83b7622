"""`scripts/study-roads`, on a run so small that nothing is learned."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "mini.yaml": """
name: mini # whose seed is the default
data: data/mini
threads: 1
network: {topology: yolov3-tiny, width: 0.125, input_hw: [64, 96]}
train: {epochs: 1, batch_size: 8}
sparsify: {epochs: 1, batch_size: 8, teacher_boxes: 1}
prune: {prefer: accuracy}
distill: {epochs: 1, batch_size: 8}
quantize: {images: 8}
search: {target_params: [50000, 120000], epochs_share: 100%, stop_early: 0}
""",
    "mini-starter.yaml": """
name: starter
data: data/mini
given: {train: runs/mini/search/trial-0000/train, distill: runs/mini/search/trial-0000/distill}
network: {topology: yolov3-tiny, width: 0.125, input_hw: [64, 96]}
distill: {teacher_boxes: 2}
quantize: {images: 8, equalization: activations, fine_tune: {epochs: 1, batch_size: 8}}
""",
    "mini-bench.yaml": """
name: mini
dataset: {path: data/mini, split: val}
models:
  - {name: trained, path: runs/mini/search/trial-0000/train}
  - {name: int8 bundle, path: runs/starter/bundle/starter.bundle}
backends: [torch_cpu, dpu]
threads: 1
""",
}


@pytest.mark.slow
def test_it_ends_with_front_spread_and_bundle_and_goes_on_from_what_is_finished(tmp_path: Path) -> None:
    """The second time nothing is made again; another seed has another network."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    tools = Path(sys.executable).parent
    scenes = [
        str(tools / "roadslim"),
        "data",
        "scenes",
        "data/mini",
        "--images",
        "24",
        "--val",
        "8",
        "--size",
        "64",
        "96",
    ]
    subprocess.run(scenes, cwd=tmp_path, check=True, capture_output=True)
    command = [str(ROOT / "scripts" / "study-roads"), str(tools), "mini.yaml", "2", "5"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=900)
    assert "train     finished before, kept" in done.stderr
    run = tmp_path / "runs" / "mini"
    rows = (run / "seeds.md").read_text().splitlines()
    assert [row.split(" |")[0] for row in rows[3:]] == ["| runs/mini-seed-5", "| mean", "| standard deviation"]
    seeds = (run / "search" / "trial-0000", tmp_path / "runs" / "mini-seed-5")
    weights = [(folder / "train" / "model.weights").read_bytes() for folder in seeds]
    assert weights[0] != weights[1]
    assert (tmp_path / "runs" / "starter" / "bundle" / "starter.bundle" / "model.xmodel").exists()
    assert (run / "search" / "front.svg").exists() and "trained" in (run / "table.md").read_text()
