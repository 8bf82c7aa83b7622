"""Connect and log in: which host key is taken, which keys are offered, what each refusal means."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from deploy.address import BoardAddress
from deploy.errors import ConnectionFailed, HostKeyError, LoginError
from deploy.known_hosts import KnownKey, known_keys, remember

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
LOGIN_TIMEOUT_S = 20.0  # an A53 takes a second or two for the key exchange; a board that boots takes longer


class _UnknownKey(paramiko.MissingHostKeyPolicy):
    """Takes exactly the key whose fingerprint the user gave, and records it; refuses every other."""

    def __init__(self, address: BoardAddress, known_hosts: Path, accepted: str | None, revoked: list[KnownKey]) -> None:
        self.address, self.known_hosts, self.accepted, self.revoked = address, known_hosts, accepted, revoked

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        found = f"{key.fingerprint} ({key.get_name()})"
        for one in self.revoked:
            if one.key == key:
                raise HostKeyError(_wrong_key(self.address, self.known_hosts, one, key))
        if self.accepted is None:
            kind = key.get_name().removeprefix("ssh-").partition("-")[0]  # ed25519, rsa, ecdsa
            raise HostKeyError(
                f"{self.address}: expected a host key that {self.known_hosts} knows, found an unknown one, {found}. "
                f"Compare it with `ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub` on the board's own console; "
                f"if it is the same, add --accept-host-key {key.fingerprint}"
            )
        if self.accepted != key.fingerprint:
            raise HostKeyError(
                f"{self.address}: expected the host key {self.accepted} as in --accept-host-key, found {found}. "
                "Another machine may be answering: check the address and the board's own fingerprint."
            )
        remember(self.known_hosts, self.address.known_hosts_name, key)
        _log.info("%s: recorded host key %s in %s", self.address, found, self.known_hosts)


def _wrong_key(address: BoardAddress, known_hosts: Path, known: KnownKey, found: paramiko.PKey) -> str:
    expected = "a host key that is not revoked" if known.revoked else f"the host key {known.key.fingerprint}"
    return (
        f"{address}: expected {expected}, {known_hosts} line {known.line}; found {found.fingerprint} "
        f"({found.get_name()}). Another machine may be answering in its place. If the board was set up afresh, "
        f"remove the line: ssh-keygen -f {known_hosts} -R '{address.known_hosts_name}'"
    )


def connect(
    address: BoardAddress, identity: Path | None, known_hosts: Path, accept_host_key: str | None
) -> paramiko.SSHClient:
    """A client that is logged in.

    Raises:
        HostKeyError: the key is unknown and not accepted, has changed, or is revoked.
        LoginError: the board takes none of our keys, or a key cannot be read.
        ConnectionFailed: nobody answers, or it is no SSH server that we can talk to.
    """
    # paramiko's own lines (its thread logs a traceback when a peer hangs up) are said better by our errors
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    name = address.known_hosts_name
    known = known_keys(known_hosts, name)
    revoked = [one for one in known if one.revoked]
    trusted = [one for one in known if not one.revoked and all(one.key != other.key for other in revoked)]
    client = paramiko.SSHClient()
    for one in reversed(trusted):  # `add` replaces: the first line of a type wins, as in OpenSSH
        client.get_host_keys().add(name, one.key.get_name(), one.key)
    client.set_missing_host_key_policy(_UnknownKey(address, known_hosts, accept_host_key, revoked))
    try:
        _login(client, address, identity)
    except paramiko.BadHostKeyException as error:
        client.close()
        same = next(one for one in trusted if one.key == error.expected_key)
        raise HostKeyError(_wrong_key(address, known_hosts, same, error.key)) from None
    except (ConnectionFailed, KeyboardInterrupt):
        client.close()
        raise
    return client


def _login(client: paramiko.SSHClient, address: BoardAddress, identity: Path | None) -> None:
    own_key = "" if identity is None else f" -i {identity}"
    copy_id = f"ssh-copy-id{own_key} -p {address.port} {address.user}@{address.host}"
    if identity is not None and not identity.is_file():
        raise LoginError(f"--identity {identity}: expected a private key, found no such file. Make one: ssh-keygen")
    try:
        client.connect(
            address.host,
            address.port,
            address.user,
            key_filename=None if identity is None else str(identity),
            allow_agent=identity is None,
            look_for_keys=identity is None,
            timeout=CONNECT_TIMEOUT_S,
            banner_timeout=LOGIN_TIMEOUT_S,
            auth_timeout=LOGIN_TIMEOUT_S,
        )
    except paramiko.BadHostKeyException:
        raise
    except paramiko.PasswordRequiredException:
        raise LoginError(
            f"{address}: expected a key that can be used, found one locked by a passphrase. "
            f"Give it to the agent, and leave --identity out: ssh-add {identity or ''}".rstrip()
        ) from None
    except paramiko.AuthenticationException as error:
        raise LoginError(
            f"{address}: expected the board to take our key, found it refused ({error}). "
            f"Give it your key once: {copy_id}"
        ) from None
    except IncompatiblePeer as error:
        raise ConnectionFailed(
            f"{address}: expected an SSH server with today's algorithms, found an old one ({error}). "
            "Update dropbear or OpenSSH on the board (SHA-1 and DSA are no longer spoken)."
        ) from None
    except paramiko.SSHException as error:
        if "No authentication methods available" in str(error):
            raise LoginError(
                f"{address}: expected a key to log in with, found none in the agent or in ~/.ssh. "
                f"Make one and give it to the board: ssh-keygen; {copy_id}"
            ) from None
        if "private key file" in str(error):
            raise LoginError(f"--identity {identity}: expected a private key, found no such thing ({error}).") from None
        raise ConnectionFailed(
            f"{address}: expected an SSH server, found none that we understand ({error}). "
            "Check host and port; a board that boots needs a minute."
        ) from None
    except socket.gaierror as error:
        raise ConnectionFailed(
            f"{address}: expected a host name that leads somewhere, found none ({error.strerror}). "
            "Check it, or give the address that `ip addr` shows on the board's console."
        ) from None
    except (OSError, EOFError) as error:
        what = f"no answer within {CONNECT_TIMEOUT_S:.0f} s" if isinstance(error, TimeoutError) else str(error)
        raise ConnectionFailed(
            f"{address}: expected a board that answers, found none ({what}). "
            "Check power, cable and address; a board that boots needs a minute."
        ) from None
