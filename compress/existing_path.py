"""What is already there where a folder is to be made."""

from __future__ import annotations

from pathlib import Path


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest folder or file above it that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())
