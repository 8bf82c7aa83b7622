"""The JSON documents that the commands of this package print."""

from __future__ import annotations

import json
from typing import Any


def print_json(document: dict[str, Any]) -> None:
    """Print a document with the fields that every one has: its schema's version and the program's."""
    from roadslim import roadslim_version

    print(json.dumps({"schema_version": 1, "roadslim_version": roadslim_version(), **document}, indent=2))
