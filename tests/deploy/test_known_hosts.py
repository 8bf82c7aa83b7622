"""OpenSSH's known_hosts file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import paramiko
import pytest

from deploy.known_hosts import known_keys, remember
from deploy.testing import make_key

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen of openssh-client")


def line(names: str, key: paramiko.PKey) -> str:
    return f"{names} {key.get_name()} {key.get_base64()} a comment"


def test_a_missing_file_knows_nobody(tmp_path: Path) -> None:
    """No file, no keys."""
    assert known_keys(tmp_path / "known_hosts", "board") == []


def test_line_forms(tmp_path: Path) -> None:
    """Lists, wildcards, exclusions, revoked keys, comments and rubbish are read by OpenSSH's rules."""
    key, other = make_key(tmp_path / "key"), make_key(tmp_path / "other")
    file = tmp_path / "known_hosts"
    text = [
        "# board ssh-ed25519 comment",
        "",
        "board",
        "board ssh-unknown AAAA",
        "board ssh-ed25519 not-base-64!",
        line("other,board", key),
        line("*.local,!bad.local", key),
        line("@revoked board", other),
        line("@cert-authority board", other),
        line("[board]:2222", other),
    ]
    file.write_text("\n".join(text))
    assert [(one.line, one.revoked) for one in known_keys(file, "board")] == [(6, False), (8, True)]
    assert [one.line for one in known_keys(file, "a.local")] == [7]
    assert known_keys(file, "bad.local") == []
    assert [(one.line, one.key == other) for one in known_keys(file, "[board]:2222")] == [(10, True)]


def test_names_hashed_by_openssh(tmp_path: Path) -> None:
    """A file hashed by `ssh-keygen -H` still knows the host, and no other."""
    file = tmp_path / "known_hosts"
    remember(file, "[board]:2222", make_key(tmp_path / "key"))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "board" not in file.read_text()
    assert [one.line for one in known_keys(file, "[board]:2222")] == [1]
    assert known_keys(file, "board") == []


def test_remembered_keys_are_found_by_openssh(tmp_path: Path) -> None:
    """What we add, after a file without a last line break too, `ssh-keygen -F` finds."""
    file = tmp_path / "ssh" / "known_hosts"
    remember(file, "board", make_key(tmp_path / "key"))
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text(file.read_text().rstrip("\n"))
    remember(file, "[fe80::1]:2222", make_key(tmp_path / "other"))
    for name, number in (("board", 1), ("[fe80::1]:2222", 2)):
        found = subprocess.run(["ssh-keygen", "-F", name, "-f", str(file)], capture_output=True, text=True)
        assert f"line {number}" in found.stdout
