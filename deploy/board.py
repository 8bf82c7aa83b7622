"""A board over SSH: its key verified, commands, files, and HTTP requests made on the board itself."""

from __future__ import annotations

import http.client
import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import paramiko

from deploy.address import BoardAddress
from deploy.errors import BoardCommandError, ConnectionFailed, DeployError
from deploy.known_hosts import DEFAULT_KNOWN_HOSTS
from deploy.login import connect

_log = logging.getLogger(__name__)

IDLE_TIMEOUT_S = 30.0  # a board that says nothing for so long is gone
KEEPALIVE_S = 10
_PROHIBITED = 1  # RFC 4254, section 5.1: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED


@dataclass(frozen=True)
class CommandResult:
    """What a command on the board gave."""

    exit_code: int
    stdout: str
    stderr: str


class Board:
    """One SSH connection; use it in a `with`.

    Args:
        address: where to log in.
        identity: the private key to log in with; without one those of the agent and of ~/.ssh are tried.
        known_hosts: the file that the board's key must be in.
        accept_host_key: `SHA256:...` of the one unknown key that may be taken and recorded.
    Raises:
        ConnectionFailed: no way to the board; HostKeyError, LoginError by the reason.
    """

    def __init__(
        self,
        address: BoardAddress,
        identity: Path | None = None,
        known_hosts: Path = DEFAULT_KNOWN_HOSTS,
        accept_host_key: str | None = None,
    ) -> None:
        self.address = address
        self._client = connect(address, identity, known_hosts.expanduser(), accept_host_key)
        transport = self._client.get_transport()
        assert transport is not None
        transport.set_keepalive(KEEPALIVE_S)
        self._transport = transport
        self._sftp: paramiko.SFTPClient | None = None

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    @property
    def host_key_sha256(self) -> str:
        """Fingerprint of the board's key, as `ssh-keygen -l` shows it."""
        return str(self._transport.get_remote_server_key().fingerprint)

    @property
    def alive(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._transport.is_active()

    @contextmanager
    def talking(self, doing: str) -> Iterator[None]:
        """Turn what paramiko raises into our errors, which say what was being done.

        Raises:
            ConnectionFailed: the connection broke.
            BoardCommandError: the board's file system refused something.
        """
        try:
            yield
        except (EOFError, TimeoutError, paramiko.SSHException) as error:
            raise self._lost(doing, error) from error
        except OSError as error:
            if not self._transport.is_active() or str(error) == "Socket is closed":
                raise self._lost(doing, error) from error
            raise BoardCommandError(
                f"{self.address}: expected success when {doing}, found that the board's file system refuses ({error}). "
                f"Look at space and owner there: {self.address.ssh('df -h')}"
            ) from error

    def _lost(self, doing: str, error: BaseException) -> ConnectionFailed:
        what = f"no answer for {IDLE_TIMEOUT_S:.0f} s" if isinstance(error, TimeoutError) else (str(error) or "closed")
        return ConnectionFailed(
            f"{self.address}: expected the connection to hold while {doing}, found it lost ({what}). "
            "Check cable and power of the board, then run the same command again."
        )

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = IDLE_TIMEOUT_S) -> CommandResult:
        """Run a program on the board; every word is quoted for its shell.

        Raises:
            ConnectionFailed: the connection broke, or nothing came for `timeout_s`.
        """
        command = shlex.join(argv)
        _log.debug("%s: %s", self.address, argv[0])
        with self.talking(f"running {argv[0]} on the board"):
            channel = self._transport.open_session(timeout=timeout_s)
            try:
                channel.settimeout(timeout_s)
                channel.exec_command(command)
                _feed(channel, stdin)
                stdout = channel.makefile("rb").read()
                stderr = channel.makefile_stderr("rb").read()
                code = channel.recv_exit_status()
            finally:
                close_channel(channel)
            if code == -1:
                raise EOFError("the session ended without an exit code")
        return CommandResult(code, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"))

    def shell(self, script: str, *args: str, doing: str, stdin: bytes = b"", timeout_s: float = IDLE_TIMEOUT_S) -> str:
        """Run a constant shell script, its values as `$1`, `$2`..., and give its output.

        Raises:
            BoardCommandError: its exit code is not 0.
            ConnectionFailed: the connection broke.
        """
        result = self.run(["sh", "-c", script, "sh", *args], stdin, timeout_s)
        if result.exit_code:
            found = (result.stderr or result.stdout).strip() or "no message"
            raise BoardCommandError(
                f"{self.address}: expected success when {doing}, found exit code {result.exit_code}: {found}. "
                f"Look on the board: {self.address.ssh('').strip()}"
            )
        return result.stdout

    def hold(self, argv: Sequence[str]) -> paramiko.Channel:
        """Start a program that lives as long as the channel that is given back; closing it ends its stdin."""
        with self.talking(f"running {argv[0]} on the board"):
            channel = self._transport.open_session(timeout=IDLE_TIMEOUT_S)
            channel.settimeout(IDLE_TIMEOUT_S)
            channel.exec_command(shlex.join(argv))
            return channel

    @property
    def sftp(self) -> paramiko.SFTPClient:
        """The board's files; opened at the first use.

        Raises:
            DeployError: the board has no SFTP.
        """
        if self._sftp is None:
            try:
                sftp = self._client.open_sftp()
            except (paramiko.SSHException, EOFError) as error:
                if not self._transport.is_active():
                    raise self._lost("opening SFTP", error) from error
                raise DeployError(
                    f"{self.address}: expected an SSH server with SFTP, found none ({error}). "
                    "Install openssh-sftp-server on the board."
                ) from error
            channel = sftp.get_channel()
            assert channel is not None
            channel.settimeout(IDLE_TIMEOUT_S)
            self._sftp = sftp
        return self._sftp

    def http_get(self, host: str, port: int, path: str, timeout_s: float = 5.0) -> bytes | None:
        """The body that an HTTP server on the board answers with, asked from the board itself.

        Returns:
            None where nobody listens, or what answers is no HTTP.
        Raises:
            DeployError: the board's SSH server forbids it.
            ConnectionFailed: the connection broke.
        """
        try:
            channel = self._transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout_s)
        except paramiko.ChannelException as error:
            if error.code != _PROHIBITED:
                return None
            raise DeployError(
                f"{self.address}: expected an SSH server that forwards to {host}:{port}, found it forbidden. "
                "Set `AllowTcpForwarding yes` in the board's sshd_config."
            ) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost("asking for the application's health", error) from error
        channel.settimeout(timeout_s)
        try:
            connection = _ChannelConnection(channel)
            connection.request("GET", path, headers={"Host": "localhost"})
            return connection.getresponse().read()
        except (http.client.HTTPException, OSError, EOFError):
            if not self._transport.is_active():
                raise self._lost("asking for the application's health", EOFError()) from None
            return None
        finally:
            close_channel(channel)


def close_channel(channel: paramiko.Channel) -> None:
    """Close a channel, also one whose connection has just broken: what broke is told by who was using it."""
    with suppress(EOFError, OSError, paramiko.SSHException):
        channel.close()


def _feed(channel: paramiko.Channel, stdin: bytes) -> None:
    """Give a program all its input; one that ended without reading it still has output and exit code to tell."""
    try:
        channel.sendall(stdin)
        channel.shutdown_write()
    except OSError:
        if not channel.closed:
            raise


class _ChannelSocket:
    """The little of a socket that HTTP needs.

    A socket that is closed is still read through its file; a channel is not. So the channel is closed by its owner.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self.sendall, self.makefile = channel.sendall, channel.makefile

    def close(self) -> None:
        """Nothing: see above."""


class _ChannelConnection(http.client.HTTPConnection):
    """HTTP over an SSH channel."""

    auto_open = 0

    def __init__(self, channel: paramiko.Channel) -> None:
        super().__init__("localhost")
        self.sock: Any = _ChannelSocket(channel)
