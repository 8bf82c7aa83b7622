"""Progress of long work: a bar on a terminal, plain lines in a log; on stderr both."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_LOG = logging.getLogger(__name__)


def tracked(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """The items, while telling how many of `total` are done."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=what, total=total, console=Console(stderr=True))
        return
    told = 0
    for done, item in enumerate(items, 1):
        yield item
        quarter = 4 * done // max(total, 1)
        if quarter > told:
            told = quarter
            _LOG.info("%s: %d of %d", what, done, total)
