"""Steps of a deployment: each timed, and shown as one line when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

from board_app.core.errors import RoadslimError
from dpu.errors import DpuError


@dataclass
class Step:
    """One step: `message` may be set while it runs."""

    name: str
    ok: bool = False
    seconds: float = 0.0
    message: str = ""


class Steps:
    """Runs steps and keeps them.

    Args:
        results: where the lines go.
        terminal: where progress is shown, if it is a terminal.
    """

    def __init__(self, results: Console, terminal: Console) -> None:
        self.results, self.terminal = results, terminal
        self.done: list[Step] = []

    @contextmanager
    def step(self, name: str, spinner: bool = True) -> Iterator[Step]:
        """Time a step and show how it ended; its error passes on."""
        step = Step(name)
        began = time.monotonic()
        shown = self.terminal.status(name) if spinner and self.terminal.is_terminal else nullcontext()
        try:
            with shown:
                yield step
            step.ok = True
        except (RoadslimError, DpuError) as error:
            step.message = str(error)
            raise
        except KeyboardInterrupt:
            step.message = "interrupted"
            raise
        finally:
            step.seconds = round(time.monotonic() - began, 3)
            self.done.append(step)
            self._show(step)

    def _show(self, step: Step) -> None:
        if self.results.encoding.lower().startswith("utf"):
            mark = "✓" if step.ok else "✗"
        else:
            mark = "ok" if step.ok else "FAILED"
        first_line = step.message.splitlines()[0] if step.message else ""
        line = Text.assemble(
            (mark, "green" if step.ok else "bold red"),
            f" {step.name:<10}",
            (f"{step.seconds:6.1f} s  ", "dim"),
            first_line,
        )
        self.results.print(line, soft_wrap=True)

    def upload_progress(self, total_bytes: int) -> Progress:
        """A bar for bytes sent; nothing where it is no terminal."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        return Progress(
            *columns, console=self.terminal, transient=True, disable=not self.terminal.is_terminal or not total_bytes
        )
