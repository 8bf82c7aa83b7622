"""The model to start with, in models/: whole, small, as good as its card says, and run by the board application."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from board_app.core.bundle import load_bundle

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "models" / "rdd2022-cmb-starter.bundle"
CARD = ROOT / "models" / "README.md"


def roadslim(*words: str) -> dict[str, Any]:
    """Run the command with --json and give what it prints."""
    command = [sys.executable, "-m", "roadslim", *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_it_is_whole_and_at_most_two_megabytes() -> None:
    """Its hashes are those of detector.json, and a clone stays small."""
    bundle = load_bundle(BUNDLE)
    assert bundle.spec.classes == ("D00", "D10", "D20", "D40")
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) <= 2_000_000


def test_it_runs_live() -> None:
    """The first thing that somebody does after the clone."""
    summary = roadslim("live", str(BUNDLE), "--source", "drive:7?pace=off", "--max-frames", "3", "--no-web")
    assert (summary["frames_done"], summary["model_sha256"]) == (3, load_bundle(BUNDLE).model_sha256)


@pytest.mark.slow
def test_its_card_says_how_good_it_is(shared_data: Path) -> None:
    """mAP50 of the committed file on the validation split is the card's."""
    found = roadslim("evaluate", str(BUNDLE), str(shared_data / "rdd2022-cmb-mini"), "--ignore", "Repair")
    assert f"mAP50 {100 * found['map50']:.1f} % in int8" in CARD.read_text()


@pytest.mark.parametrize("said", ["CC BY-SA 4.0", "arXiv:2209.08538", "Changes"])
def test_its_card_keeps_the_licence_of_its_data(said: str) -> None:
    """Attribution, a note of changes and the same licence are what CC BY-SA asks for."""
    assert said in CARD.read_text()
