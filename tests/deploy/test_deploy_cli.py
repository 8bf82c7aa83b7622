"""`roadslim deploy` as its own process against a real OpenSSH server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from board_app.core.bundle import Bundle
from deploy.address import BoardAddress
from deploy.cli import _where_to_look
from deploy.lock import this_user
from deploy.manifest import StartSettings
from deploy.testing import LoopbackBoard, free_port


def roadslim(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "roadslim", *words], capture_output=True, text=True, timeout=120)


@pytest.mark.board
@pytest.mark.parametrize("board", [True], indirect=True, ids=["real modules"])
def test_healthy_then_rolled_back(board: LoopbackBoard, make_bundle: Callable[..., Bundle]) -> None:
    """Lines for people or JSON for programs, and exit code 3 with the log when the old release is back."""
    good, refused = make_bundle("good"), make_bundle("refused", input_tensor="another")
    where = [
        *("--board", str(board.address), "--identity", str(board.identity), "--known-hosts", str(board.known_hosts)),
        *("--dir", str(board.dir), "--source", "drive:1?size=160x120", "--listen", f"127.0.0.1:{free_port()}"),
    ]
    first = roadslim("deploy", str(good.path), *where)
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:9]] == [
        ["✓", name] for name in "bundle connect preflight upload verify switch start health tidy".split()
    ]
    assert "first frame went through the DPU" in lines[7]
    assert lines[9].startswith("See it: ssh -N -L ")
    second = roadslim("deploy", str(refused.path), *where, "--json")
    assert second.returncode == 3
    document = json.loads(second.stdout)
    assert (document["result"], document["board"]) == ("rolled_back", str(board.address))
    assert (document["schema_version"], document["bytes_sent"] > 0) == (1, True)
    assert {"name": "health", "ok": False} in [{k: step[k] for k in ("name", "ok")} for step in document["steps"]]
    assert all(set(step) == {"name", "ok", "seconds", "message"} for step in document["steps"])
    assert any("another is not in the model" in line for line in document["log"])
    assert document["error"] in second.stderr and "✗ health" in second.stderr
    third = roadslim("deploy", str(good.path), *where, "--json")
    assert (third.returncode, json.loads(third.stdout)["result"]) == (0, "unchanged")


def test_usage(small_bundle: Bundle) -> None:
    """Wrong flags are exit code 2, a board that is not there is 1 with a report that says failed."""
    assert roadslim("deploy", str(small_bundle.path), "--board", "no board").returncode == 2
    assert roadslim("deploy", str(small_bundle.path), "--board", "b", "--source", "here/").returncode == 2
    slow = roadslim("deploy", str(small_bundle.path), "--board", "b", "--timeout", "long")
    assert slow.returncode == 2 and "expected seconds above 0, found long" in slow.stderr
    absent = roadslim("deploy", str(small_bundle.path), "--board", f"root@127.0.0.1:{free_port()}", "--json")
    assert absent.returncode == 1 and "Check power, cable and address" in absent.stderr
    document = json.loads(absent.stdout)
    assert (document["result"], document["steps"][-1]["name"]) == ("failed", "connect")


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container whose user has no name the number stands in the lock and the record."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert this_user() == f"{os.getuid()}@{socket.gethostname()}"


@pytest.mark.parametrize(
    ("board", "listen", "told"),
    [
        ("me@zcu", "127.0.0.1:8080", "ssh -N -L 8080:127.0.0.1:8080 me@zcu, then http://127.0.0.1:8080/"),
        ("me@zcu:2222", "127.0.0.1:80", "ssh -N -L 80:127.0.0.1:80 -p 2222 me@zcu, then http://127.0.0.1:80/"),
        ("me@zcu", "0.0.0.0:8080", "http://zcu:8080/"),
        ("me@[fe80::1]:22", "[::]:8080", "http://[fe80::1]:8080/"),
        ("me@zcu", "192.168.1.20:8080", "http://192.168.1.20:8080/"),
    ],
)
def test_where_to_look(board: str, listen: str, told: str) -> None:
    """A page that only the board reaches is shown through a tunnel, another by its address."""
    assert _where_to_look(BoardAddress.parse(board), StartSettings("camera:0", listen)) == f"See it: {told}"
