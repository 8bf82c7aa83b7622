"""The image of Dockerfile.vitis starts what the host asks it for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "Dockerfile.vitis").read_text(encoding="utf-8")


def entry_point() -> list[str]:
    """The words of ENTRYPOINT."""
    found = re.search(r"^ENTRYPOINT (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found
    return list(json.loads(found[1]))


@pytest.mark.parametrize(
    ("words", "exit_code", "expected"),
    [
        (["--help"], 0, "calibrate"),
        (["compile", "--fingerprint=0x1", "--job=no such job"], 1, "no such job/input/quantised.xmodel, found none"),
        (["calibrate", "--batch=0"], 2, "--batch"),
        ([], 2, "STEP"),
    ],
)
def test_the_entry_point_activates_and_passes_on(
    tmp_path: Path, words: list[str], exit_code: int, expected: str
) -> None:
    """conda's environment is activated, then every word reaches `python -m compress.vitis` as it is."""
    conda = "/opt/vitis_ai/conda/etc/profile.d/conda.sh"
    shell, flag, script, name = entry_point()
    assert conda in script
    (tmp_path / "conda.sh").write_text(f'conda() {{ echo "$@"; PATH="{tmp_path}:$PATH"; }}\n')
    (tmp_path / "python").symlink_to(sys.executable)
    command = [shell, flag, script.replace(conda, str(tmp_path / "conda.sh")), name, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == exit_code, done.stderr
    assert done.stdout.startswith("activate vitis-ai-pytorch\n")
    assert expected in done.stdout + done.stderr


def test_what_is_copied_is_what_is_sent() -> None:
    """The packages that the image takes are those that the build's ignore file lets through."""
    ignore = (ROOT / "Dockerfile.vitis.dockerignore").read_text(encoding="utf-8").split()
    copied = re.findall(r"^COPY (\S+)", DOCKERFILE, re.MULTILINE)
    assert copied == ["board_app", "compress"]
    assert [line[1:] for line in ignore if line.startswith("!")] == copied
