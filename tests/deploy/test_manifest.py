"""What a release is."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest

from board_app.core.bundle import Bundle
from board_app.core.errors import UsageError
from deploy.manifest import StartSettings, application_files, application_folder, make_release


def test_only_the_application_and_the_bundle_are_shipped(tmp_path: Path, small_bundle: Bundle) -> None:
    """Tests, fakes, caches, hidden files and what lies in the bundle by chance stay here."""
    app = tmp_path / "app"
    for name in (
        "core/boxes.py",
        "web/page.html",
        "testing.py",
        "tests/test_a.py",
        "core/__pycache__/a.pyc",
        ".hidden",
    ):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text(name)
    (small_bundle.path / "notes.txt").write_text("by chance")
    release = make_release(small_bundle, StartSettings(), app)
    assert [file.path for file in release.files] == [
        *("board_app/core/boxes.py", "board_app/web/page.html"),
        *("bundle/detector.json", "bundle/labels.txt", "bundle/model.xmodel"),
    ]
    assert release.document()["files"]["bundle/model.xmodel"]["sha256"] == small_bundle.model_sha256


def test_the_real_application_is_whole() -> None:
    """Its entry, its core and its page are shipped; tests and fakes are not."""
    folder = application_folder()
    names = {path.relative_to(folder).as_posix() for path in application_files(folder)}
    assert {"__main__.py", "cli.py", "core/bundle.py", "web/page.html"} <= names
    assert not any("test" in name or "pycache" in name for name in names)


def test_the_same_content_has_the_same_digest(small_bundle: Bundle, fake_app: Path) -> None:
    """Time is in the id, not in the digest; a changed file or setting is another content."""
    start = StartSettings("drive:1", "127.0.0.1:8080")
    early, late = (datetime.datetime(2026, 11, day, 12, 0, 5, tzinfo=datetime.UTC) for day in (1, 2))
    first = make_release(small_bundle, start, fake_app, early)
    second = make_release(small_bundle, start, fake_app, late)
    assert first.digest == second.digest
    assert first.id == f"20261101-120005-{first.digest[:12]}" < second.id
    assert make_release(small_bundle, replace(start, source="drive:2"), fake_app).digest != first.digest
    (fake_app / "__init__.py").write_text("# changed\n")
    assert make_release(small_bundle, start, fake_app).digest != first.digest


@pytest.mark.parametrize("source", ["-", "images/", "C:/x", "", "camera"])
def test_sources_that_mean_nothing_on_the_board(source: str) -> None:
    """Standard input and relative paths are refused before anything is done."""
    with pytest.raises(UsageError, match="--source"):
        StartSettings(source)


@pytest.mark.parametrize("listen", ["", "8080", ":8080", "host:", "host:x", "host:70000"])
def test_wrong_listen_addresses(listen: str) -> None:
    """HOST:PORT or nothing."""
    with pytest.raises(UsageError, match="--listen"):
        StartSettings("camera:0", listen)


@pytest.mark.parametrize(
    ("listen", "asked", "local"),
    [
        ("127.0.0.1:80", "127.0.0.1", True),
        ("0.0.0.0:80", "127.0.0.1", False),
        ("[::]:80", "::1", False),
        ("192.168.1.20:80", "192.168.1.20", False),
    ],
)
def test_where_the_page_is_asked(listen: str, asked: str, local: bool) -> None:
    """The board asks itself where the page listens."""
    start = StartSettings("camera:0", listen)
    assert (start.asked_host, start.is_local, start.port) == (asked, local, 80)
