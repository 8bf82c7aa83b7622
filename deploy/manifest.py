"""What a release is: the files that go to the board, their hashes, how it is started, and the name that follows."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import board_app
from board_app.core.atomic_file import sha256_of
from board_app.core.bundle import SPEC_FILE, Bundle
from board_app.core.errors import UsageError
from deploy.address import parse_port
from roadslim import roadslim_version

SCHEMA_VERSION = 1
RELEASE_FILE = "release.json"
APP_FOLDER = "board_app"
BUNDLE_FOLDER = "bundle"
_NOT_SHIPPED = ("__pycache__", "tests", "testing.py")
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
_SOURCE_SCHEMES = ("camera:", "drive:", "fake:", "rtsp://", "rtsps://", "http://", "https://")


@dataclass(frozen=True)
class StartSettings:
    """How the application is started on the board; part of a release, so that the one before starts as it did.

    Attributes:
        source: what it watches, by the SOURCE grammar; a file or folder is one of the board's, absolute.
        listen: HOST:PORT of the live page.
    """

    source: str = "camera:0"
    listen: str = "127.0.0.1:8080"

    def __post_init__(self) -> None:
        if not self.source.startswith((*_SOURCE_SCHEMES, "/")):
            raise UsageError(
                f"--source {self.source}: expected camera:, drive:, fake:, rtsp:// or http://, or the absolute path of "
                "a file or folder on the board; found something else. Correct it."
            )
        if not self.listen.rpartition(":")[0]:
            raise UsageError(f"--listen {self.listen}: expected HOST:PORT such as 127.0.0.1:8080. Correct it.")
        parse_port(self.listen.rpartition(":")[2], f"--listen {self.listen}")

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> StartSettings:
        """Those that a release.json says."""
        start = document["start"]
        return cls(start["source"], start["listen"])

    @property
    def host(self) -> str:
        """The address that is listened on, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The live page's port."""
        return int(self.listen.rpartition(":")[2])

    @property
    def asked_host(self) -> str:
        """The address at which the board itself reaches the page."""
        return _EVERY_ADDRESS.get(self.host, self.host)

    @property
    def is_local(self) -> bool:
        """Whether only the board itself reaches the page."""
        return self.host in ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release: its place in the release's folder (with /), where it is here, SHA-256 and size."""

    path: str
    source: Path
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Release:
    """Everything that goes to the board.

    Attributes:
        id: UTC time and the digest's first digits; sorts by time.
        digest: SHA-256 over the files' hashes and the start settings: equal for equal content.
    """

    id: str
    digest: str
    files: tuple[ReleaseFile, ...]
    start: StartSettings
    model: str
    model_sha256: str

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    def document(self) -> dict[str, Any]:
        """What release.json says."""
        return {
            "schema_version": SCHEMA_VERSION,
            "roadslim_version": roadslim_version(),
            "release": self.id,
            "digest": self.digest,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "start": asdict(self.start),
            "files": {file.path: {"sha256": file.sha256, "bytes": file.bytes} for file in self.files},
        }


def application_files(folder: Path) -> list[Path]:
    """The application's files, without tests, fakes for tests, caches and hidden files; sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix != ".pyc"
        and not any(part in _NOT_SHIPPED or part.startswith(".") for part in path.relative_to(folder).parts)
    )


def application_folder() -> Path:
    """Where the application is here."""
    return Path(board_app.__file__).parent


def make_release(
    bundle: Bundle, start: StartSettings, app_folder: Path, now_utc: datetime.datetime | None = None
) -> Release:
    """The release that this bundle, this application and these settings make."""
    sources = {
        f"{APP_FOLDER}/{path.relative_to(app_folder).as_posix()}": path for path in application_files(app_folder)
    }
    for name in sorted((*bundle.spec.files, SPEC_FILE)):
        sources[f"{BUNDLE_FOLDER}/{name}"] = bundle.path / name
    files = tuple(ReleaseFile(path, here, sha256_of(here), here.stat().st_size) for path, here in sources.items())
    digest = content_digest({file.path: file.sha256 for file in files}, asdict(start))
    time = now_utc or datetime.datetime.now(datetime.UTC)
    name = f"{time:%Y%m%d-%H%M%S}-{digest[:12]}"
    return Release(name, digest, files, start, bundle.spec.name, bundle.model_sha256)


def content_digest(sha256_by_path: Mapping[str, str], start: Mapping[str, Any]) -> str:
    """The name of a content: SHA-256 as 64 hexadecimal digits."""
    content = {"files": dict(sha256_by_path), "start": dict(start)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
