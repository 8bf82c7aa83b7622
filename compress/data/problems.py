"""What is wrong with a dataset, as a list of places, so that everything can be told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_app.core.errors import InputError

_TOLD_AT_ONCE = 10


@dataclass(frozen=True)
class Problem:
    """One mistake: the file, the line where there is one, and what was expected, found and should be done."""

    path: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else f"{self.path}"
        return f"{where}: {self.message}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: `path`, `line` (or null), `message`."""
        return {"path": str(self.path), "line": self.line, "message": self.message}


def refuse(problems: Sequence[Problem], folder: Path) -> None:
    """Raise InputError with the first problems, if there are any."""
    if not problems:
        return
    lines = [str(problem) for problem in problems[:_TOLD_AT_ONCE]]
    if len(problems) > _TOLD_AT_ONCE:
        more = len(problems) - _TOLD_AT_ONCE
        lines.append(f"... and {more} more. `roadslim data check {folder}` lists all of them")
    raise InputError("\n".join(lines))
