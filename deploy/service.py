"""The application as a process on the board: start, stop, health, log.

First form, without an init system: detached by setsid, its process id in shared/, its log per release.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from deploy.board import Board
from deploy.errors import BoardCommandError, NotHealthyError
from deploy.manifest import BUNDLE_FOLDER, StartSettings
from deploy.release import Releases

STOP_LIMIT_S = 10.0  # from SIGTERM to SIGKILL
KILL_LIMIT_S = 3.0
POLL_S = 0.3
LOG_LINES = 40

# The process is ours if it runs board_app with a release as its working directory. A zombie's cwd cannot be read.
_RUNNING = r"""
pid=$(cat "$1/shared/board_app.pid" 2>/dev/null) || exit 0
case $pid in ''|*[!0-9]*) exit 0;; esac
base=$(cd "$1/releases" 2>/dev/null && pwd -P) || exit 0
cwd=$(readlink "/proc/$pid/cwd") || exit 0
tr '\0' ' ' < "/proc/$pid/cmdline" | grep -q 'board_app' || exit 0
cwd=${cwd% (deleted)}
case $cwd in "$base"/*) printf '%s %s\n' "$pid" "${cwd#"$base"/}";; esac
"""
_START = r"""
root=$1 log=$2
cd "$root/current" || exit 1
cd "$(pwd -P)" || exit 1
shift 2
setsid "$@" >> "$log" 2>&1 < /dev/null &
echo $! > "$root/shared/board_app.pid"
"""
_SIGNAL = 'kill -"$1" -"$2" 2>/dev/null || kill -"$1" "$2" 2>/dev/null; exit 0'  # its process group, or it alone
_FORGET = 'rm -f "$1/shared/board_app.pid"'


@dataclass(frozen=True)
class Running:
    """The application's process on the board, and the release it was started from."""

    pid: int
    release: str


class Service:
    """The application of one folder of a board."""

    def __init__(self, board: Board, releases: Releases) -> None:
        self.board, self.releases = board, releases

    def running(self) -> Running | None:
        """The application, if it runs and is really ours."""
        words = self.board.shell(_RUNNING, self.releases.root, doing="looking for the application").split()
        return Running(int(words[0]), words[1]) if len(words) == 2 else None

    def start(self, release_id: str, settings: StartSettings) -> None:
        """Start the current release.

        Args:
            release_id: of the current release, which it will report in /healthz.
        """
        command = [
            *("python3", "-m", "board_app", "--bundle", BUNDLE_FOLDER, "--source", settings.source, "--loop"),
            *("--listen", settings.listen, "--release", release_id),
            *("--detections", self.releases.path("shared", "detections.jsonl")),
        ]
        self.board.shell(_START, self.releases.root, self._log(release_id), *command, doing="starting the application")

    def stop(self) -> Running | None:
        """Stop the application and give what ran: SIGTERM, after `STOP_LIMIT_S` SIGKILL.

        Raises:
            BoardCommandError: not even SIGKILL ends it.
        """
        was = self.running()
        if was is not None:
            for signal, limit_s in (("TERM", STOP_LIMIT_S), ("KILL", KILL_LIMIT_S)):
                self.board.shell(_SIGNAL, signal, str(was.pid), doing="stopping the application")
                if self._gone_within(limit_s):
                    break
            else:
                raise BoardCommandError(
                    f"{self.board.address}: expected the application to end, found process {was.pid} alive after "
                    "SIGKILL: it hangs in the DPU driver. Reboot the board."
                )
        self.board.shell(_FORGET, self.releases.root, doing="forgetting the process id")
        return was

    def _gone_within(self, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while self.running() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S / 3)
        return True

    def health(self, settings: StartSettings) -> dict[str, Any] | None:
        """What /healthz says, asked on the board itself; None where nobody answers."""
        body = self.board.http_get(settings.asked_host, settings.port, "/healthz")
        try:
            document = json.loads(body or b"")
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    def wait_until_healthy(self, release_id: str, settings: StartSettings, timeout_s: float) -> dict[str, Any]:
        """Wait until the release's first frame went through the DPU, and give what /healthz says.

        Raises:
            NotHealthyError: the application ended, or was not healthy in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            document = self.health(settings)
            if document and document.get("healthy") is True and document.get("release") == release_id:
                return document
            found = _state(document, release_id)
            if self.running() is None:
                found = "that the application ended"
            elif time.monotonic() < deadline:
                time.sleep(POLL_S)
                continue
            raise NotHealthyError(
                f"{self.board.address}: expected a first frame through the DPU within {timeout_s:.0f} s, found {found}."
            )

    def log_tail(self, release_id: str) -> list[str]:
        """The last lines that a release's application logged."""
        result = self.board.run(["tail", "-n", str(LOG_LINES), self._log(release_id)])
        return result.stdout.splitlines()

    def _log(self, release_id: str) -> str:
        return self.releases.path("shared", "logs", f"{release_id}.log")


def _state(document: dict[str, Any] | None, release_id: str) -> str:
    if document is None:
        return "no answer from /healthz"
    if document.get("release") != release_id:
        return f"release {document.get('release')!r} answering"
    reasons = document.get("reasons")
    return "; ".join(map(str, reasons)) if isinstance(reasons, list) and reasons else "it not healthy"
