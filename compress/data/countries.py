"""Countries of RDD2020 and RDD2022, told by the names of the pictures: Japan_000001.jpg, United_States_000001.jpg."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from board_app.core.errors import UsageError

_NAME = re.compile(r"(.+)_\d+")


def country_of(path: Path) -> str | None:
    """The country in a file's name, None for a name of another kind."""
    found = _NAME.fullmatch(path.stem)
    return found[1] if found else None


def check_countries(wanted: Sequence[str], found: Sequence[str | None], place: Path) -> None:
    """Refuse countries that are not there.

    Raises:
        UsageError: some of `wanted` are not among `found`; names all of them.
    """
    missing = [country for country in wanted if country not in found]
    if missing:
        known = ", ".join(sorted({country for country in found if country})) or "none"
        raise UsageError(
            f"{place}: expected pictures of {', '.join(missing)}, found countries: {known}. Mend the names"
        )
