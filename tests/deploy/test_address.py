"""Where a board is."""

from __future__ import annotations

import pytest

from board_app.core.errors import UsageError
from deploy.address import BoardAddress


@pytest.mark.parametrize(
    ("text", "user", "host", "port", "name"),
    [
        ("zcu104", "root", "zcu104", 22, "zcu104"),
        ("me@192.168.1.20", "me", "192.168.1.20", 22, "192.168.1.20"),
        ("me@board.local:2222", "me", "board.local", 2222, "[board.local]:2222"),
        ("root@[fe80::1]:22", "root", "fe80::1", 22, "fe80::1"),
        ("[::1]:2222", "root", "::1", 2222, "[::1]:2222"),
    ],
)
def test_addresses(text: str, user: str, host: str, port: int, name: str) -> None:
    """User, host and port are read, with their defaults, and named as OpenSSH names them."""
    address = BoardAddress.parse(text)
    assert (address.user, address.host, address.port, address.known_hosts_name) == (user, host, port, name)
    assert BoardAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", "@", "root@", "root@host:0", "root@host:99999", "a b@host", "-oProxy=x", "h:p", "h;x"]
)
def test_no_addresses(text: str) -> None:
    """What is no address is refused, an option of ssh in disguise too."""
    with pytest.raises(UsageError, match="expected"):
        BoardAddress.parse(text)
