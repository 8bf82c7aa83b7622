"""How a deployment went: the fields of `deploy --json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from board_app.core.errors import RoadslimError
from deploy.steps import Step
from dpu.errors import DpuError
from roadslim import roadslim_version


@dataclass
class Report:
    """How a deployment went; the fields of `deploy --json`.

    Attributes:
        result: `healthy`, `rolled_back`, `failed` or `unchanged`.
        error: what went wrong.
        log: the last lines of the application that did not come up.
    """

    board: str
    release: str | None = None
    previous: str | None = None
    model_sha256: str | None = None
    steps: list[Step] = field(default_factory=list)
    bytes_sent: int = 0
    result: str = "failed"
    dry_run: bool = False
    error: RoadslimError | DpuError | None = None
    log: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "schema_version": 1,
            "roadslim_version": roadslim_version(),
            "board": self.board,
            "release": self.release,
            "previous": self.previous,
            "model_sha256": self.model_sha256,
            "dry_run": self.dry_run,
            "steps": [asdict(step) for step in self.steps],
            "bytes_sent": self.bytes_sent,
            "result": self.result,
            "error": None if self.error is None else str(self.error),
            "log": self.log,
        }
