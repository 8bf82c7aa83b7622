"""A real PostgreSQL server, and workers as processes."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compress.search.testing import PASSWORD


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A database on a server of Debian's packages, with a password; skips where there is none."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("needs PostgreSQL: apt install postgresql")
    owner = pwd.getpwnam("postgres") if os.getuid() == 0 else None  # the server does not run as root
    home = Path(tempfile.mkdtemp(prefix="search-postgresql-"))
    secret = home / "password"
    secret.write_text(PASSWORD)
    if owner:
        for path in (home, secret):
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs[-1].with_name(program)), "-D", str(home / "data"), *arguments]
        user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
        subprocess.run(command, check=True, cwd=home, stdout=subprocess.DEVNULL, timeout=60, **user)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        run("initdb", "-U", "searcher", "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        run("pg_ctl", "start", "-w", "-l", str(home / "log"), "-o", options)
        yield f"postgresql://searcher:{PASSWORD}@127.0.0.1:{port}/postgres"
        run("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(home)


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[[str, int, float], subprocess.Popen[str]]]:
    """Starts a worker on a storage: trials wanted, seconds an epoch; its runs are in tmp_path."""
    started: list[subprocess.Popen[str]] = []

    def start(storage: str, trials: int, epoch_s: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "compress.search.testing", storage, str(tmp_path), str(trials), str(epoch_s)]
        environment = os.environ | {"PYTHONWARNINGS": "error"}
        started.append(subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()
        worker.communicate()
