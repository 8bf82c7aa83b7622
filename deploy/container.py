"""Docker or podman: is everything there, which command runs a step of a job, and running it.

The container gets the job's `input/` to read and its `output/` to write, no network, and this user's rights.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from board_app.core.errors import UsageError
from deploy.errors import CompileError, ContainerError

ENGINES = ("docker", "podman")
IMAGE = "roadslim-vitis:3.5"
IMAGE_GB = 20  # of disk, about, for AMD's image and ours on it
_DOCKERFILE = Path(__file__).resolve().parents[1] / "Dockerfile.vitis"
_ANSWER_TIMEOUT_S = 30.0
_START = {
    "docker": "Start it (systemctl start docker, or Docker Desktop), and be in the group docker.",
    "podman": "`podman info` tells more.",
}


@dataclass(frozen=True)
class Engine:
    """A container engine by its program's name, `docker` or `podman`."""

    name: str

    def check(self, image: str) -> None:
        """Raise ContainerError unless the engine is installed, answers, and has the image; nothing is fetched."""
        if shutil.which(self.name) is None:
            raise ContainerError(
                f"expected the container engine {self.name}, found no such program. "
                "Install Docker or podman, or name the other with --engine; --print shows the commands for elsewhere."
            )
        failure = self._failure("version")
        if failure:
            raise ContainerError(f"expected {self.name} to answer, found: {failure} {_START[self.name]}")
        if self._failure("image", "inspect", image):
            raise ContainerError(
                f"expected the image {image}, found none. Build it once, with about {IMAGE_GB} GB of disk and a "
                f"network: {shlex.join(self.build_command(image))}"
            )

    def build_command(self, image: str) -> list[str]:
        """What builds the image from AMD's."""
        return [self.name, "build", f"--file={_DOCKERFILE}", f"--tag={image}", str(_DOCKERFILE.parent)]

    def run_command(self, image: str, job: Path, name: str, words: list[str]) -> list[str]:
        """What runs one step of a job; `words` are for `python -m compress.vitis`, the image's entry point."""
        if "," in str(job):
            raise UsageError(f"expected a path without a comma, which a mount cannot have, found {job}. Use --out.")
        return [
            *(self.name, "run", "--rm", f"--name={name}", "--network=none"),
            f"--user={os.getuid()}:{os.getgid()}",
            *(["--userns=keep-id"] if self.name == "podman" else []),
            "--security-opt=label=disable",
            *("--env=HOME=/tmp", "--env=USER=roadslim"),
            f"--mount=type=bind,source={job / 'input'},target=/job/input,readonly",
            f"--mount=type=bind,source={job / 'output'},target=/job/output",
            "--workdir=/job",
            image,
            *words,
        ]

    def run(self, command: list[str], name: str, log: Path, on_line: Callable[[str], None]) -> None:
        """Run a container to its end, adding what it prints to the log; interrupted, it is removed first.

        Raises:
            CompileError: its exit code is not 0; with the last line that it printed and the log's path.
        """
        last: deque[str] = deque(maxlen=1)
        with open(log, "a", encoding="utf-8") as kept:
            kept.write(f"$ {shlex.join(command)}\n")
            # A session of its own: an interrupt of the terminal reaches us alone, and we remove the container.
            with subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            ) as process:
                try:
                    assert process.stdout is not None
                    for line in process.stdout:
                        kept.write(line)
                        kept.flush()
                        if line.strip():
                            last.append(line.strip())
                            on_line(last[0])
                    exit_code = process.wait()
                except BaseException:
                    self._failure("rm", "--force", name)
                    process.terminate()
                    raise
        if exit_code != 0:
            raise CompileError(
                f"expected the container to finish, found exit code {exit_code}: {''.join(last) or 'no output'} "
                f"The log: {log}"
            )

    def _failure(self, *words: str) -> str | None:
        """What a short command printed when it failed, None where it did not."""
        try:
            done = subprocess.run(  # noqa: S603
                [self.name, *words], capture_output=True, text=True, timeout=_ANSWER_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no answer in {_ANSWER_TIMEOUT_S:.0f} s."
        except OSError as error:
            return f"{error}."
        lines = (done.stderr or done.stdout).strip().splitlines()
        return None if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}.")


def chosen_engine(name: str | None) -> Engine:
    """The engine of that name; without a name docker, or podman where only that is installed."""
    return Engine(name or next((known for known in ENGINES if shutil.which(known)), ENGINES[0]))


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raise ContainerError unless the disk of a folder has that much room for a job."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise ContainerError(
            f"expected {needed_bytes / 1e6:,.0f} MB free at {folder} for the job, found {free / 1e6:,.0f} MB. "
            "Free some space, or put the result elsewhere: --out DIR"
        )
