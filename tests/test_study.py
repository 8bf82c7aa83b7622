"""`make study`'s script, on a run so small that nothing is learned."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NETWORK = """
data: data/mini
threads: 1
network: {width: 0.0625, input_hw: [64, 96]}
sparsify: {epochs: 1, batch_size: 8}
"""
FILES = {
    "mini.yaml": f"""{NETWORK}
name: mini
train: {{epochs: 1, batch_size: 8}}
prune: {{channels: 50%, blocks: 2}}
distill: {{epochs: 1, batch_size: 8}}
quantize: {{images: 8}}
""",
    "mini-slimming.yaml": f"""{NETWORK}
name: mini-slimming
given: {{train: runs/mini/train}}
prune: {{channels: 50%, blocks: 2, method: slimming}}
""",
    "mini-bench.yaml": """
name: mini
dataset: {path: data/mini, split: test}
models:
  - {name: trained, path: runs/mini/train}
  - {name: sparse, path: runs/mini/sparsify}
  - {name: straight after pruning, path: runs/mini/prune}
  - {name: fine-tuned, path: runs/mini/distill}
  - {name: int8 bundle, path: runs/mini/bundle/mini.bundle}
  - {name: sparse the published way, path: runs/mini-slimming/sparsify}
  - {name: straight after pruning the published way, path: runs/mini-slimming/prune}
backends: [torch_cpu, onnxruntime_cpu, dpu]
threads: 1
""",
}


@pytest.mark.slow
def test_the_study_ends_with_page_and_table_and_goes_on_from_what_is_finished(tmp_path: Path) -> None:
    """The second time nothing is made again, and the log has both."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    command = [str(ROOT / "scripts" / "study"), str(Path(sys.executable).parent), "./mini", "24"]
    for _ in range(2):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=900)
    run = tmp_path / "runs" / "mini"
    assert "trained" in (run / "table.md").read_text() and "published way" in (run / "table.md").read_text()
    assert "times faster" in (run / "figures.md").read_text()
    assert (run / "report.html").stat().st_size > 10_000
    log = (run / "study.log").read_text()
    assert log.count("UTC: finished") == 2 and "train     finished before, kept" in log
    assert not (tmp_path / "runs" / "mini-slimming" / "train").exists()
