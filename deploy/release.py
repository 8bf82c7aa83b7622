"""Releases on the board.

DIR/releases/ID/            board_app/, bundle/, release.json; never changed once it has this name
DIR/releases/ID.partial/    an upload that is not finished
DIR/current                 symlink to the release that serves
DIR/shared/                 what outlives releases: detections.jsonl, logs/, the process id
DIR/deploys.jsonl           what was deployed when, and how it ended
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.board import Board
from deploy.errors import DeployError, UploadError
from deploy.manifest import RELEASE_FILE, Release, ReleaseFile

Progress = Callable[[str, int], None]
"""Called while a file is sent, with its path and the bytes sent since the last call."""

KEPT_RELEASES = 3
PARTIAL = ".partial"
_BATCH = 50  # files a command: a command line is limited to 128 kB
_HASH_TIMEOUT_S = 120.0  # a slow SD card reads some 10 MB/s
_HASH_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")

_LINK = 'cd "$1" && shift && while [ $# -gt 1 ]; do ln "$1" "$2" 2>/dev/null || cp "$1" "$2" || exit 1; shift 2; done'
_HASH = 'cd "$1" && shift && sha256sum "$@" 2>/dev/null; exit 0'


@dataclass(frozen=True)
class Uploaded:
    """What was sent: files (release.json aside) and bytes (with it)."""

    files: int
    bytes: int


def _batches(files: Sequence[ReleaseFile]) -> Iterator[Sequence[ReleaseFile]]:
    return (files[start : start + _BATCH] for start in range(0, len(files), _BATCH))


class Releases:
    """The releases in one folder of a board.

    Args:
        board: where.
        folder: absolute, or relative to the user's home; it need not be there yet.
    """

    def __init__(self, board: Board, folder: str) -> None:
        self.board = board
        with board.talking("finding the home folder"):
            home = "/" if folder.startswith("/") else board.sftp.normalize(".") or "/"
        self.root = posixpath.normpath(posixpath.join(home, folder))

    def path(self, *parts: str) -> str:
        """A path in the folder."""
        return posixpath.join(self.root, *parts)

    def release_path(self, release_id: str) -> str:
        """The folder of a release."""
        return self.path("releases", release_id)

    def make_folders(self) -> None:
        """Make what is missing.

        Raises:
            BoardCommandError: it cannot be made.
        """
        wanted = [self.path("releases"), self.path("shared", "logs")]
        self.board.shell('mkdir -p "$@"', *wanted, doing=f"making {self.root}")

    def current(self) -> str | None:
        """The release that `current` points to."""
        with self.board.talking("reading which release is current"):
            try:
                target = self.board.sftp.readlink(self.path("current"))
            except FileNotFoundError:
                return None
        return posixpath.basename(target) if target else None

    def names(self) -> list[str]:
        """Everything in releases/, oldest first, unfinished ones too."""
        with self.board.talking("listing the releases"):
            try:
                return sorted(self.board.sftp.listdir(self.path("releases")))
            except FileNotFoundError:
                return []

    def document(self, release_id: str) -> dict[str, Any] | None:
        """What a release's release.json says; None where it cannot be read."""
        with self.board.talking(f"reading {RELEASE_FILE}"):
            try:
                with self.board.sftp.open(posixpath.join(self.release_path(release_id), RELEASE_FILE), "rb") as stream:
                    document = json.loads(stream.read())
            except (FileNotFoundError, ValueError):
                return None
        return document if isinstance(document, dict) and {"digest", "start", "files"} <= document.keys() else None

    def documents(self) -> dict[str, dict[str, Any]]:
        """release.json of every finished release that has a readable one, by its name, newest first."""
        finished = [name for name in reversed(self.names()) if not name.endswith(PARTIAL)]
        found = {name: self.document(name) for name in finished}
        return {name: document for name, document in found.items() if document is not None}

    def wrong_files(self, folder: str, files: Sequence[ReleaseFile]) -> list[ReleaseFile]:
        """The files whose content on the board is not what it should be, by the board's own sha256sum."""
        wrong = []
        for batch in _batches(files):
            paths = [file.path for file in batch]
            output = self.board.shell(_HASH, folder, *paths, doing="hashing the files", timeout_s=_HASH_TIMEOUT_S)
            lines = (_HASH_LINE.fullmatch(line) for line in output.splitlines())
            hashes = {match[2]: match[1] for match in lines if match}
            wrong += [file for file in batch if hashes.get(file.path) != file.sha256]
        return wrong

    def upload(self, release: Release, progress: Progress) -> Uploaded:
        """Put a release into releases/ID.partial; what another release has already is linked, not sent.

        Raises:
            UploadError: the board's disk is full, or a file arrived changed.
            ConnectionFailed: the connection broke; the unfinished folder goes with the next deployment.
        """
        partial = self.release_path(release.id + PARTIAL)
        self.remove(name for name in self.names() if name.endswith(PARTIAL))
        try:
            folders = sorted({posixpath.dirname(posixpath.join(partial, file.path)) for file in release.files})
            self.board.shell('mkdir -p "$@"', *folders, doing=f"making {partial}")
            missing = self._link(release, partial)
            sent = sum(self._send(file, posixpath.join(partial, file.path), progress) for file in missing)
            sent += self._write_document(release, posixpath.join(partial, RELEASE_FILE), progress)
        except (UploadError, KeyboardInterrupt):
            self.remove([release.id + PARTIAL])
            raise
        return Uploaded(len(missing), sent)

    def _link(self, release: Release, partial: str) -> list[ReleaseFile]:
        """Link what the board has already; give the files that must be sent."""
        places: dict[str, str] = {}
        for name, document in self.documents().items():
            for path, entry in document.get("files", {}).items():
                places.setdefault(str(entry.get("sha256")), posixpath.join(self.release_path(name), path))
        present = [file for file in release.files if file.sha256 in places]
        for batch in _batches(present):
            pairs = [word for file in batch for word in (places[file.sha256], file.path)]
            try:
                self.board.shell(_LINK, partial, *pairs, doing="linking files of an earlier release")
            except DeployError:
                break  # what is missing now is sent
        wrong = {file.path for file in self.wrong_files(partial, present)}
        if wrong:
            doomed = [posixpath.join(partial, path) for path in sorted(wrong)]
            self.board.shell('rm -f "$@"', *doomed, doing="removing files that are not as they were")
        return [file for file in release.files if file not in present or file.path in wrong]

    def _send(self, file: ReleaseFile, place: str, progress: Progress) -> int:
        done = 0

        def report(transferred: int, _total: int) -> None:
            nonlocal done
            progress(file.path, transferred - done)
            done = transferred

        with self.board.talking(f"sending {file.path}"):
            try:
                self.board.sftp.put(str(file.source), place, callback=report)
            except OSError as error:
                raise self._not_written(file.path, error) from error
        return file.bytes

    def _write_document(self, release: Release, place: str, progress: Progress) -> int:
        content = (json.dumps(release.document(), indent=2) + "\n").encode()
        with self.board.talking(f"sending {RELEASE_FILE}"):
            try:
                with self.board.sftp.open(place, "wb") as stream:
                    stream.chmod(0o600)  # the source may hold a camera's password
                    stream.write(content)
            except OSError as error:
                raise self._not_written(RELEASE_FILE, error) from error
        progress(RELEASE_FILE, len(content))
        return len(content)

    def _not_written(self, path: str, error: OSError) -> Exception:
        if isinstance(error, TimeoutError) or str(error) == "Socket is closed" or not self.board.alive:
            return EOFError(str(error))
        room = self.board.run(["df", "-Pk", self.root]).stdout.strip().splitlines()[-1:]
        return UploadError(
            f"{self.board.address}: expected {path} to be written, found that the board cannot ({error}; disk: "
            f"{' '.join(' '.join(room).split()) or 'unknown'}). Free some space there; "
            "the release that serves is as it was."
        )

    def finish(self, release: Release) -> None:
        """Verify the upload on the board and give it its name.

        Raises:
            UploadError: a file is not as it was sent; the upload is removed.
        """
        partial = self.release_path(release.id + PARTIAL)
        wrong = self.wrong_files(partial, release.files)
        if wrong:
            self.remove([release.id + PARTIAL])
            raise UploadError(
                f"{self.board.address}: expected {wrong[0].path} with SHA-256 {wrong[0].sha256}, found another content "
                f"on the board ({len(wrong)} of {len(release.files)} files differ). The release that serves is as it "
                "was. Run the same command again; if it happens again, the SD card is failing."
            )
        self.board.shell("sync", doing="writing to the disk", timeout_s=_HASH_TIMEOUT_S)
        with self.board.talking("naming the release"):
            self.board.sftp.posix_rename(partial, self.release_path(release.id))

    def switch_to(self, release_id: str | None) -> None:
        """Make a release the current one, in one step; None: none is."""
        current, new = self.path("current"), self.path("current.new")
        with self.board.talking("switching"):
            for stale in (new,) if release_id else (new, current):
                try:
                    self.board.sftp.remove(stale)
                except FileNotFoundError:
                    pass
            if release_id:
                self.board.sftp.symlink(posixpath.join("releases", release_id), new)
                self.board.sftp.posix_rename(new, current)

    def remove(self, names: Iterable[str]) -> None:
        """Remove releases or unfinished uploads."""
        paths = [self.release_path(name) for name in names]
        if paths:
            self.board.shell('rm -rf "$@"', *paths, doing="removing old releases", timeout_s=_HASH_TIMEOUT_S)

    def tidy(self, keep: Sequence[str | None]) -> list[str]:
        """Remove all but the newest releases and those to keep; give the removed ones' names."""
        names = self.names()
        old = [name for name in names[:-KEPT_RELEASES] if name not in keep]
        self.remove(old)
        return old

    def record(self, entry: dict[str, Any]) -> None:
        """Add a line to deploys.jsonl."""
        with self.board.talking("recording the deployment"):
            with self.board.sftp.open(self.path("deploys.jsonl"), "a") as stream:
                stream.write(json.dumps(entry) + "\n")
