"""The keys of the boards we know: OpenSSH's known_hosts file, read with line numbers, and added to."""

from __future__ import annotations

import fnmatch
import hmac
import os
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

DEFAULT_KNOWN_HOSTS = Path("~/.ssh/known_hosts")


@dataclass(frozen=True)
class KnownKey:
    """One key of a host.

    Attributes:
        line: its line in the file, from 1.
        key: the public key.
        revoked: the line forbids the key (`@revoked`).
    """

    line: int
    key: paramiko.PKey
    revoked: bool = False


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        hashed = paramiko.HostKeys.hash_host(name, pattern)
        return hmac.compare_digest(hashed, pattern)
    return fnmatch.fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))


def _names(patterns: list[str], name: str) -> bool:
    """OpenSSH's rule: some pattern names the host, and none excludes it."""
    if any(pattern.startswith("!") and _matches(pattern[1:], name) for pattern in patterns):
        return False
    return any(_matches(pattern, name) for pattern in patterns if not pattern.startswith("!"))


def _entries(path: Path) -> Iterator[tuple[int, bool, HostKeyEntry]]:
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split(None, 1)
        if not fields or fields[0].startswith("#") or fields[0] == "@cert-authority":
            continue  # keys signed by an authority are not taken: the board's own key must be there
        revoked = fields[0] == "@revoked"
        try:
            entry = HostKeyEntry.from_line(" ".join((fields[-1] if revoked else line).split()), number)
        except (InvalidHostKey, Base64Error, paramiko.SSHException, ValueError):
            continue  # as OpenSSH: a line that cannot be read knows nobody
        if entry is not None and entry.key is not None:
            yield number, revoked, entry


def known_keys(path: Path, name: str) -> list[KnownKey]:
    """The keys that the file has for a host, in its order.

    Args:
        path: a known_hosts file; one that is not there knows nobody.
        name: `host` or `[host]:port`.
    """
    return [
        KnownKey(number, entry.key, revoked)
        for number, revoked, entry in _entries(path)
        if entry.key is not None and _names(list(entry.hostnames or []), name)
    ]


def remember(path: Path, name: str, key: paramiko.PKey) -> None:
    """Add a host's key at the end of the file, which is made (0600) where it is not there.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        if end:
            stream.seek(end - 1)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(f"{name} {key.get_name()} {key.get_base64()}\n".encode())
