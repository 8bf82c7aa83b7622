"""Where the workers of a search meet: Optuna's storage, a journal file or a database."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from board_app.core.errors import InputError, RoadslimError, UsageError

_SETTINGS = "settings"  # the study's attribute that says what was searched
_TRIES = 5  # at making the tables, when several workers find an empty database
_LOCKED_S = 60.0  # SQLite waits so long for another worker's write


def open_study(storage: str, name: str, settings: dict[str, Any]) -> optuna.Study:
    """The study of this name: maximise mAP50, minimise the predicted DPU time; begun where there is none.

    Args:
        storage: a URL such as postgresql://user@host/database or sqlite:///file.db, or the path of a journal file.
        name: of the study; every worker that names the same one shares it.
        settings: what the trials' results follow from (JSON-able); those of all workers must be the same.
    Raises:
        UsageError: no such kind of storage, or the study was begun with other settings.
        RoadslimError: the storage cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with reachable(storage):
        study = optuna.create_study(
            storage=_storage(storage), study_name=name, directions=("maximize", "minimize"), load_if_exists=True
        )
        text = json.dumps(settings, sort_keys=True)
        begun_with = study.user_attrs.get(_SETTINGS, text)
        if begun_with != text:
            changed = sorted(_leaves(settings) ^ _leaves(json.loads(begun_with)))
            keys = ", ".join(dict.fromkeys(key for key, _ in changed))
            raise UsageError(
                f"study {name} in {shown(storage)}: expected the settings that it was begun with, found others: "
                f"{keys}. Set them back, or give the search another `name:`"
            )
        study.set_user_attr(_SETTINGS, text)
    return study


@contextmanager
def reachable(storage: str) -> Iterator[None]:
    """Tell an error of the storage in three parts, without its password."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        found = _without_password(str(getattr(cause, "orig", None) or cause).strip().splitlines()[0], storage)
        raise RoadslimError(
            f"--storage {shown(storage)}: expected a database that answers, found: {found}. "
            "Check address, user and password, and run the same command again: no finished trial is lost"
        ) from None
    except json.JSONDecodeError as error:
        if _is_url(storage):
            raise
        raise _no_journal(storage, error) from error


def shown(storage: str) -> str:
    """The storage as it may be written down: without its password."""
    if not _is_url(storage):
        return storage
    try:
        return make_url(storage).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return f"{storage.split('://')[0]}://…"


def _storage(storage: str) -> BaseStorage:
    if not _is_url(storage):
        return _journal(Path(storage))
    kinds = "a path, or a URL such as postgresql://USER@HOST/DATABASE or sqlite:///FILE"
    try:
        return _database(make_url(storage))
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise UsageError(f"--storage {shown(storage)}: expected {kinds}, found none. Correct it") from error
    except ImportError as error:
        raise RoadslimError(
            f"--storage {shown(storage)}: expected the Python module that talks to this database, found none. "
            "For PostgreSQL: `pip install psycopg2-binary`"
        ) from error


def _database(url: URL, tries: int = _TRIES) -> RDBStorage:
    if url.drivername == "postgresql":  # which module that means differs between versions of SQLAlchemy
        url = url.set(drivername="postgresql+psycopg2")
    sqlite = url.get_backend_name() == "sqlite"
    arguments = {"connect_args": {"timeout": _LOCKED_S}} if sqlite else {"pool_pre_ping": True}
    try:
        return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=arguments)
    except (IntegrityError, ProgrammingError, OperationalError) as error:  # another worker was making the tables?
        if tries == 1 or (isinstance(error, OperationalError) and "already exists" not in str(error)):
            raise
    time.sleep(random.uniform(0.1, 1))  # noqa: S311
    return _database(url, tries - 1)


def _journal(path: Path) -> JournalStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as journal:
        journal.seek(0)
        first = journal.readline()
    if first and b'"op_code"' not in first:
        raise _no_journal(path, first[:40].decode(errors="replace").strip())
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except ValueError as error:
        raise _no_journal(path, error) from error


def _no_journal(path: object, found: object) -> InputError:
    return InputError(
        f"--storage {path}: expected a search's journal, found another file or a damaged one ({found}). "
        "Name another, or move it away: the trials' folders stay"
    )


def _is_url(storage: str) -> bool:
    return "://" in storage


def _without_password(text: str, storage: str) -> str:
    password = make_url(storage).password if _is_url(storage) else None
    return text.replace(str(password), "***") if password else text


def _leaves(document: Any, key: str = "") -> set[tuple[str, str]]:
    """Every value of a document as its dotted key and text."""
    if isinstance(document, dict):
        return {leaf for name, value in document.items() for leaf in _leaves(value, f"{key}.{name}" if key else name)}
    return {(key, json.dumps(document))}
