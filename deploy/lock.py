"""One deployment at a time: a lock that a process on the board holds, and that ends with the connection.

The kernel's lock (flock) cannot be left behind by a deployment that was killed or whose cable was pulled, unlike a
lock file. The holder is a few lines of Python, which the board has.
"""

from __future__ import annotations

import datetime
import getpass
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.board import Board, close_channel
from deploy.errors import BoardCommandError, LockedError

_HOLDER = """
import fcntl, json, os, sys
lock = open(sys.argv[1], "a+")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    lock.seek(0)
    print("busy " + lock.read().strip())
    sys.exit()
lock.truncate(0)
lock.write(json.dumps(dict(json.loads(sys.argv[2]), pid=os.getpid())))
lock.flush()
print("held")
sys.stdout.flush()
sys.stdin.read()
lock.truncate(0)
"""


def this_user() -> str:
    """USER@MACHINE of who runs this; the number of a user that has no name, as in some containers."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@contextmanager
def deploy_lock(board: Board, path: str) -> Iterator[None]:
    """Hold the lock file `path` on the board.

    Raises:
        LockedError: another deployment holds it.
    """
    now = datetime.datetime.now(datetime.UTC)
    owner = {"who": this_user(), "since_utc": f"{now:%Y-%m-%d %H:%M:%S}"}
    channel = board.hold(["python3", "-c", _HOLDER, path, json.dumps(owner)])
    try:
        with board.talking("taking the lock"):
            answer = channel.makefile("r").readline().strip()
        if answer != "held":
            raise _refused(board, path, answer, channel.makefile_stderr("r").read())
        yield
    finally:
        close_channel(channel)


def _refused(board: Board, path: str, answer: str, stderr: str | bytes) -> Exception:
    if not answer.startswith("busy"):
        text = stderr.decode("utf-8", "replace") if isinstance(stderr, bytes) else stderr
        return BoardCommandError(
            f"{board.address}: expected to lock {path}, found that it cannot be ({text.strip() or 'no message'}). "
            "Check the folder's owner and space."
        )
    try:
        owner = json.loads(answer[len("busy") :])
        who, since, pid = owner["who"], owner["since_utc"], int(owner["pid"])
    except (ValueError, KeyError, TypeError):
        who, since, pid = "somebody", "just now", 0
    breaking = board.address.ssh(f"kill {pid}" if pid else "fuser -k " + path)
    return LockedError(
        f"{board.address}: expected no other deployment, found one by {who} since {since} UTC. "
        f"Wait until it is done; if its machine is gone, break the lock: {breaking}"
    )
