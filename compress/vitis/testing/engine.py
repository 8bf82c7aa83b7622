"""A stand-in for docker and podman: `run` runs the image's entry point as a process of the host.

Its job folder is the parent of what is mounted at /job/input. Faults: `daemon_down`, `no_image`; the others are the
container's. What runs is noted under STAND_IN_STATE, so that `rm --force` can end it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from compress.vitis.testing import STATE, container_environment, fault


def main(argv: list[str]) -> int:
    """Do what the engine would."""
    verb = argv[0]
    with open(_state() / "calls", "a", encoding="utf-8") as calls:
        calls.write(" ".join(argv) + "\n")
    if fault() == "daemon_down":
        print("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?", file=sys.stderr)
        return 1
    if verb == "image":
        if fault() == "no_image":
            print(f"Error: No such image: {argv[-1]}", file=sys.stderr)
            return 1
        print("[]")
        return 0
    if verb == "rm":
        return _remove(argv[-1])
    return _run(argv[1:]) if verb == "run" else 0


def _state() -> Path:
    return Path(os.environ.get(STATE, tempfile.gettempdir()))


def _remove(name: str) -> int:
    running = _state() / name
    if not running.exists():
        print(f"Error: No such container: {name}", file=sys.stderr)
        return 1
    os.killpg(int(running.read_text()), signal.SIGKILL)
    running.unlink()
    return 0


def _run(argv: list[str]) -> int:
    name, job = "container", Path()
    words = iter(argv)
    for word in words:
        if not word.startswith("--"):
            break  # the image; what follows is for the entry point
        value = word.partition("=")[2]
        if word.startswith("--name="):
            name = value
        elif word.startswith("--mount="):
            mount = dict(part.partition("=")[::2] for part in value.split(","))
            job = Path(mount["source"]).parent if mount["target"] == "/job/input" else job
    with tempfile.TemporaryDirectory() as programs:
        command = [sys.executable, "-m", "compress.vitis", *words]
        environment = container_environment(Path(programs))
        with subprocess.Popen(command, cwd=job, env=environment, start_new_session=True) as process:  # noqa: S603
            (_state() / name).write_text(str(process.pid))
            code = process.wait()
        (_state() / name).unlink(missing_ok=True)
        return code if code >= 0 else 128 - code
