"""Connecting to a real OpenSSH server: whose key is taken, and what each refusal says."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from deploy.address import BoardAddress
from deploy.board import Board
from deploy.errors import ConnectionFailed, DeployError, HostKeyError, LoginError
from deploy.testing import LoopbackBoard, free_port, make_key

pytestmark = pytest.mark.board


def open_board(board: LoopbackBoard, known_hosts: Path | None = None, accept: str | None = None) -> Board:
    return Board(board.address, board.identity, known_hosts or board.known_hosts, accept)


def test_an_unknown_key_is_shown_and_can_be_accepted(board: LoopbackBoard, tmp_path: Path) -> None:
    """The error names the fingerprint as ssh-keygen does and the flag; exactly that key is then taken and recorded."""
    known_hosts = tmp_path / "empty"
    shown = subprocess.run(["ssh-keygen", "-lf", str(board.host_key)], capture_output=True, text=True).stdout.split()[1]
    with pytest.raises(HostKeyError, match="unknown") as error:
        open_board(board, known_hosts)
    assert f"--accept-host-key {shown}" in str(error.value)
    with pytest.raises(HostKeyError, match="expected the host key SHA256:other"):
        open_board(board, known_hosts, "SHA256:other")
    assert not known_hosts.exists()
    with open_board(board, known_hosts, shown) as connected:
        assert connected.host_key_sha256 == shown
    with open_board(board, known_hosts):
        pass
    assert len(known_hosts.read_text().splitlines()) == 1


def test_a_changed_key_is_refused(board: LoopbackBoard) -> None:
    """File and line of the old key are named; accepting the new one does not help."""
    before = board.known_hosts.read_text()
    board.known_hosts.write_text(f"# a comment\n{before}")
    board.stop()
    board.new_host_key()
    board.start()
    for accept in (None, str(board.key.fingerprint)):
        with pytest.raises(HostKeyError) as error:
            open_board(board, accept=accept)
        assert f"{board.known_hosts} line 2" in str(error.value)
        assert str(board.key.fingerprint) in str(error.value)
        assert f"ssh-keygen -f {board.known_hosts} -R" in str(error.value)
    assert board.known_hosts.read_text() == f"# a comment\n{before}"


def test_a_revoked_key_is_refused(board: LoopbackBoard) -> None:
    """A key that is both known and revoked is not taken, accepted or not."""
    board.known_hosts.write_text(f"{board.known_hosts.read_text()}@revoked * ssh-ed25519 {board.key.get_base64()}\n")
    for accept in (None, str(board.key.fingerprint)):
        with pytest.raises(HostKeyError, match=r"not revoked, .* line 2"):
            open_board(board, accept=accept)


def test_keys_that_do_not_open(board: LoopbackBoard, tmp_path: Path) -> None:
    """A strange key, a locked key, no key file and no key: an error each that says what to do."""
    make_key(tmp_path / "strange")
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(locked)], check=True)
    (tmp_path / "no_key").write_text("nothing of the kind\n")
    cases = {"strange": "ssh-copy-id", "locked": "ssh-add", "absent": "no such file", "no_key": "private key"}
    for name, remedy in cases.items():
        with pytest.raises(LoginError, match=remedy):
            Board(board.address, tmp_path / name, board.known_hosts)


def test_nobody_there(tmp_path: Path) -> None:
    """A closed port, an unknown name and a server that is no SSH server are told apart."""
    known_hosts = tmp_path / "known_hosts"
    with pytest.raises(ConnectionFailed, match="Check power, cable and address"):
        Board(BoardAddress("root", "127.0.0.1", free_port()), None, known_hosts)
    with pytest.raises(ConnectionFailed, match="host name"):
        Board(BoardAddress("root", "no-such-board.invalid"), None, known_hosts)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(ConnectionFailed, match="expected an SSH server"):
            Board(BoardAddress("root", "127.0.0.1", server.getsockname()[1]), None, known_hosts)


def test_a_server_of_old(tmp_path: Path, board: LoopbackBoard) -> None:
    """Only algorithms that are no longer spoken: the error says to update the server."""
    board.stop()
    board.extra_config = "KexAlgorithms diffie-hellman-group1-sha1\n"
    board.start()
    with pytest.raises(ConnectionFailed, match="Update dropbear or OpenSSH"):
        open_board(board)


@pytest.mark.parametrize("word", ["plain", "two words", "$(echo no)", "a'b\"c;`id`", "", "-n", "ümläut\n*"])
def test_words_arrive_as_they_are(board: LoopbackBoard, word: str) -> None:
    """No character means anything to the board's shell."""
    with open_board(board) as connected:
        result = connected.run(["printf", "%s", word]) if word != "-n" else connected.run(["echo", "-n", "-n"])
        assert (result.exit_code, result.stdout) == (0, word if word != "-n" else "")
        assert connected.shell('printf %s "$1"', word, doing="printing") == word


def test_results_of_commands(board: LoopbackBoard) -> None:
    """Exit code, both outputs and stdin are carried; a failed script says what was being done."""
    with open_board(board) as connected:
        result = connected.run(["sh", "-c", "cat; echo oops >&2; exit 7"], b"x" * 300_000)
        assert (result.exit_code, len(result.stdout), result.stderr) == (7, 300_000, "oops\n")
        with pytest.raises(DeployError, match="when counting, found exit code 3: no fingers"):
            connected.shell("echo no fingers >&2; exit 3", doing="counting")


def test_a_program_that_does_not_read_its_input(board: LoopbackBoard) -> None:
    """A program that ends in the middle of its input has its exit code and its words told, not a lost connection."""
    with open_board(board) as connected:
        result = connected.run(["sh", "-c", "echo broken >&2; exit 127"], stdin=bytes(8 << 20))
        assert (result.exit_code, result.stderr) == (127, "broken\n")
        assert connected.run(["true"]).exit_code == 0


def test_a_broken_connection(board: LoopbackBoard) -> None:
    """Commands, files and health: each says that the connection was lost, and while doing what."""
    for use in ("run", "sftp", "http"):
        with open_board(board) as connected:
            connected.sftp.listdir("/")
            board.drop_connections()
            with pytest.raises(ConnectionFailed, match="expected the connection to hold while"):
                if use == "run":
                    connected.run(["true"])
                elif use == "http":
                    connected.http_get("127.0.0.1", 1, "/")
                else:
                    with connected.talking("listing"):
                        connected.sftp.listdir("/")


def test_health_where_nobody_listens_or_forwarding_is_off(board: LoopbackBoard) -> None:
    """A closed port is no error, a server that forbids forwarding is."""
    with open_board(board) as connected:
        assert connected.http_get("127.0.0.1", free_port(), "/healthz") is None
        assert connected.http_get("127.0.0.1", board.address.port, "/healthz") is None  # an SSH banner is no HTTP
    board.stop()
    board.extra_config = "AllowTcpForwarding no\n"
    board.start()
    with open_board(board) as connected, pytest.raises(DeployError, match="AllowTcpForwarding yes"):
        connected.http_get("127.0.0.1", 1, "/healthz")


@pytest.mark.parametrize("how", ["Content-Length: 300000\r\n", "Connection: close\r\n"])
def test_answers_that_come_slowly_are_read_whole(board: LoopbackBoard, how: str) -> None:
    """A server that sends its headers, then its body in pieces, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server, open_board(board) as connected:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(f"HTTP/1.0 200 OK\r\n{how}\r\n".encode())
                for _ in range(3):
                    time.sleep(0.05)
                    client.sendall(b"x" * 100_000)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        assert connected.http_get("127.0.0.1", server.getsockname()[1], "/healthz") == b"x" * 300_000
        thread.join(5)


def test_no_sftp(board: LoopbackBoard) -> None:
    """A server without SFTP is named as such."""
    board.stop()
    board.sftp = False
    board.start()
    with open_board(board) as connected, pytest.raises(DeployError, match="openssh-sftp-server"):
        connected.sftp.listdir("/")
