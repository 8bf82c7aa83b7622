"""Where a board is: USER@HOST:PORT."""

from __future__ import annotations

import re
from dataclasses import dataclass

from board_app.core.errors import UsageError

DEFAULT_USER = "root"  # the ZCU104 images know no other
DEFAULT_PORT = 22

_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z_][A-Za-z0-9_.-]*)@)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(?::(?P<port>\d{1,5}))?"
)


def parse_port(text: str, flag: str) -> int:
    """A TCP port from 1 to 65535.

    Raises:
        UsageError: it is none.
    """
    if not re.fullmatch(r"\d{1,5}", text) or not 1 <= int(text) <= 65535:
        raise UsageError(f"{flag}: expected a port from 1 to 65535, found {text!r}. Correct it.")
    return int(text)


@dataclass(frozen=True)
class BoardAddress:
    """Where to log in; `host` is a name, an IPv4 or an IPv6 address without brackets."""

    user: str
    host: str
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> BoardAddress:
        """The address that `USER@HOST:PORT` names; USER is root and PORT 22 where they are left out.

        Raises:
            UsageError: it is no such address.
        """
        match = _ADDRESS.fullmatch(text)
        if not match:
            raise UsageError(
                f"--board {text}: expected USER@HOST:PORT such as root@192.168.1.20 or root@[fe80::1]:22. Correct it."
            )
        port = DEFAULT_PORT if match["port"] is None else parse_port(match["port"], f"--board {text}")
        return cls(match["user"] or DEFAULT_USER, match["host"].strip("[]"), port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}"

    @property
    def known_hosts_name(self) -> str:
        """The board's name in a known_hosts file, as OpenSSH writes it."""
        return self.host if self.port == DEFAULT_PORT else f"[{self.host}]:{self.port}"

    def ssh(self, command: str) -> str:
        """A command line for the user's own terminal."""
        port = "" if self.port == DEFAULT_PORT else f"-p {self.port} "
        return f"ssh {port}{self.user}@{self.host} {command}"
