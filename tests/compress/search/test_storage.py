"""Where workers meet, and what is told when they cannot."""

from __future__ import annotations

import socket
from pathlib import Path

import optuna
import pytest

from board_app.core.errors import InputError, RoadslimError, UsageError
from compress.search.storage import open_study, shown
from compress.search.testing import PASSWORD


@pytest.mark.parametrize(
    ("storage", "written"),
    [
        (f"postgresql://me:{PASSWORD}@host:5432/search", "postgresql://me:***@host:5432/search"),
        ("postgresql://me@host/search", "postgresql://me@host/search"),
        ("sqlite:///search.db", "sqlite:///search.db"),
        ("runs/road/search/journal.log", "runs/road/search/journal.log"),
        (f"postgresql://me:{PASSWORD}@host:port/search", "postgresql://…"),
    ],
)
def test_a_storage_is_shown_without_its_password(storage: str, written: str) -> None:
    """Whether it is well formed or not."""
    assert shown(storage) == written


@pytest.mark.parametrize(
    ("storage", "error", "words"),
    [
        (f"oracool://me:{PASSWORD}@host/search", UsageError, "expected a path, or a URL such as postgresql://"),
        (f"postgresql://me:{PASSWORD}@host:port/search", UsageError, "expected a path, or a URL such as postgresql://"),
        (f"postgresql+pg8000://me:{PASSWORD}@host/search", RoadslimError, "`pip install psycopg2-binary`"),
        (f"postgresql://me:{PASSWORD}@127.0.0.1:PORT/search", RoadslimError, "Connection refused.*Check address, user"),
        ("sqlite:////no/such/folder/search.db", RoadslimError, "unable to open database file"),
    ],
)
def test_a_storage_that_is_none(storage: str, error: type[RoadslimError], words: str) -> None:
    """Told in three parts, and the password not at all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(error, match=words) as told:
        open_study(storage.replace("PORT", str(port)), "road", {})
    assert type(told.value) is error and PASSWORD not in str(told.value)


def test_a_file_that_is_no_journal(tmp_path: Path) -> None:
    """Refused and left alone."""
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n")
    with pytest.raises(InputError, match="expected a search's journal, found another file"):
        open_study(str(path), "road", {})
    assert path.read_text() == "buy milk\n"


@pytest.mark.slow
def test_a_real_server_keeps_the_study_and_not_the_password(postgresql_url: str) -> None:
    """What one worker wrote the next one finds; another password is refused without being told."""
    study = open_study(postgresql_url, "kept", {"seed": 1})
    study.add_trial(optuna.create_trial(values=[0.5, 2.0]))
    again = open_study(postgresql_url, "kept", {"seed": 1})
    assert again.get_trials()[0].values == [0.5, 2.0] and PASSWORD not in str(again.user_attrs)
    with pytest.raises(RoadslimError, match="password authentication failed") as told:
        open_study(postgresql_url.replace(PASSWORD, "guessed-wrong"), "kept", {"seed": 1})
    assert "guessed-wrong" not in str(told.value)
