"""Where a path that somebody gave as a model leads to a bundle."""

from __future__ import annotations

from pathlib import Path

from board_app.core.bundle import SPEC_FILE


def find_bundle(path: Path) -> Path | None:
    """The bundle that a path names: itself, or the one in a stage folder of a run; None where it is neither."""
    if (path / SPEC_FILE).is_file() or path.suffix == ".bundle":
        return path
    found = list(path.glob("*.bundle")) if (path / "stage.json").is_file() else []
    return found[0] if len(found) == 1 else None
