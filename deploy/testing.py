"""A board for tests: a real OpenSSH server on loopback, with a Python that has what a board's has.

`xir` and `vart` are dpu's stand-ins, in place beside numpy and cv2 as a board has them in site-packages; nothing of
the checkout is on the path in front of them. The server has process and mount namespaces of its own where that is
permitted (root), so that everything that was started on it ends with it; it ends with the test, even if that is killed.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

import dpu
from deploy.address import BoardAddress
from deploy.known_hosts import remember

SSHD = "/usr/sbin/sshd"
_START_LIMIT_S = 10.0
_STOP_LIMIT_S = 10.0
_BOARD_PACKAGES = ("numpy", "numpy.libs", "cv2", "opencv_python_headless.libs", "google")
_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_MOUNT = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'


def why_no_board() -> str | None:
    """Why there can be no such board here; None where there can."""
    if not os.access(SSHD, os.X_OK):
        return "needs OpenSSH's server: apt-get install openssh-server"
    if shutil.which("setpriv") is None:
        return "needs setpriv of util-linux"
    return None


def has_namespaces() -> bool:
    """Whether we may make process and mount namespaces."""
    return subprocess.run([*_NAMESPACES, "true"], capture_output=True).returncode == 0


def free_port() -> int:
    """A TCP port on loopback that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LoopbackBoard:
    """The server and the files it needs.

    Args:
        folder: a temporary folder of its own.
        real_modules: numpy, cv2, xir and vart for the real application; else empty ones, which import faster.
        tmpfs: options of a small file system (`size=1m`) to put the releases on; needs `has_namespaces()`.

    Attributes:
        address: where to log in.
        identity: the private key that it takes.
        known_hosts: a file that knows its key.
        dir: where releases go; to be seen from here too, unless it is a tmpfs.
        sftp: whether the server offers SFTP; holds from the next start.
        extra_config: lines for its sshd_config; holds from the next start.
    """

    def __init__(self, folder: Path, real_modules: bool = True, tmpfs: str | None = None) -> None:
        self.folder, self.tmpfs = folder, tmpfs
        self.address = BoardAddress(getpass.getuser(), "127.0.0.1", free_port())
        self.identity, self.known_hosts = folder / "identity", folder / "known_hosts"
        self.host_key, self.authorized_keys = folder / "host_key", folder / "authorized_keys"
        self.dir, self.home, self.log = folder / "board", folder / "home", folder / "sshd.log"
        self.sftp, self.extra_config = True, ""
        self._process: subprocess.Popen[bytes] | None = None
        for path in (self.dir, self.home, folder / "bin"):
            path.mkdir(parents=True)
        self.new_host_key()
        login = make_key(self.identity)
        self.authorized_keys.write_text(f"{login.get_name()} {login.get_base64()}\n")
        remember(self.known_hosts, self.address.known_hosts_name, self.key)
        self.site = folder / "site-packages"
        _fill_site_packages(self.site, real_modules)
        python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        _script(folder / "bin" / "python3", f'#!/bin/sh\nexec {python} "$@"\n')

    def new_host_key(self) -> None:
        """Give the board another key, as setting it up afresh does; holds from the next start."""
        self.key = make_key(self.host_key)

    def add_program(self, name: str, text: str) -> None:
        """Put a program on the board's PATH, in front."""
        _script(self.folder / "bin" / name, text)

    def _config(self) -> Path:
        path = f"{self.folder / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
        config = self.folder / "sshd_config"
        sftp = "Subsystem sftp internal-sftp\n" if self.sftp else ""
        config.write_text(
            f"Port {self.address.port}\nListenAddress 127.0.0.1\nHostKey {self.host_key}\nPidFile none\n"
            f"AuthorizedKeysFile {self.authorized_keys}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\n{sftp}{self.extra_config}"
            f"SetEnv HOME={self.home} PATH={path} PYTHONPATH={self.site}\n"
        )
        return config

    def start(self) -> None:
        """Start the server and wait until it listens."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        command = [SSHD, "-D", "-e", "-f", str(self._config())]
        if self.tmpfs:
            command = ["sh", "-c", _MOUNT, "sh", self.tmpfs, str(self.dir), *command]
        namespaces = _NAMESPACES if has_namespaces() else ()
        before = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *namespaces, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_LIMIT_S
        while b"Server listening" not in self.log.read_bytes()[before:]:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"sshd does not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server and everything that was started on it, as pulling the plug does."""
        doomed = set(_processes_in(self.folder))
        if self._process is not None:
            doomed |= _descendants(self._process.pid)
            self._process.kill()
            self._process.wait()
            self._process = None
        for pid in doomed:
            _kill(pid)
        deadline = time.monotonic() + _STOP_LIMIT_S
        while any(_is_alive(pid) for pid in doomed):
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes of the test board do not end: {doomed}")
            time.sleep(0.01)

    def drop_connections(self) -> None:
        """End every SSH session from the board's side, as pulling the cable does; the server and the rest go on."""
        assert self._process is not None
        for pid in _descendants(self._process.pid):
            command = _proc(pid, "cmdline")
            if command.startswith(b"sshd:") and b"[listener]" not in command:
                _kill(pid)


@contextmanager
def loopback_board(folder: Path, real_modules: bool = True, tmpfs: str | None = None) -> Iterator[LoopbackBoard]:
    """A board that runs within the `with`."""
    board = LoopbackBoard(folder, real_modules, tmpfs)
    board.start()
    try:
        yield board
    finally:
        board.stop()


def make_key(path: Path) -> paramiko.PKey:
    """Write a new Ed25519 private key in OpenSSH's form, and give it."""
    path.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return paramiko.Ed25519Key.from_private_key_file(str(path))


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _fill_site_packages(folder: Path, real_modules: bool) -> None:
    folder.mkdir()
    if not real_modules:
        for name in ("numpy", "cv2", "xir", "vart"):
            (folder / f"{name}.py").touch()
        return
    import numpy

    here = Path(numpy.__file__).parents[1]
    for name in _BOARD_PACKAGES:
        if (here / name).exists():
            (folder / name).symlink_to(here / name)
    for module in dpu.stand_in_path().iterdir():
        (folder / module.name).symlink_to(module)


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _is_alive(pid: int) -> bool:
    stat = _proc(pid, "stat").rpartition(b")")[2].split()
    return bool(stat) and stat[0] not in (b"Z", b"X")


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _descendants(root: int) -> set[int]:
    parent = {pid: int(stat.rpartition(b")")[2].split()[1]) for pid in _pids() if (stat := _proc(pid, "stat"))}
    found = {root}
    while new := {pid for pid, above in parent.items() if above in found} - found:
        found |= new
    return found - {root}


def _processes_in(folder: Path) -> list[int]:
    found = []
    for pid in _pids():
        try:
            if Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(folder):
                found.append(pid)
        except OSError:
            continue
    return found
