"""One deployment from beginning to end: checked, uploaded, switched, started, healthy, or rolled back."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from board_app.core.bundle import Bundle, load_bundle
from board_app.core.errors import RoadslimError
from deploy.address import BoardAddress
from deploy.board import Board
from deploy.errors import BoardCommandError, ConnectionFailed, DeployError, NotHealthyError, RolledBackError
from deploy.known_hosts import DEFAULT_KNOWN_HOSTS
from deploy.lock import deploy_lock, this_user
from deploy.manifest import RELEASE_FILE, Release, StartSettings, application_folder, make_release
from deploy.preflight import check_board
from deploy.release import Releases
from deploy.report import Report
from deploy.service import Service
from deploy.steps import Steps
from dpu.errors import DpuError

_log = logging.getLogger(__name__)

DEFAULT_FOLDER = "roadslim"  # in the user's home on the board
DEFAULT_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class DeployOptions:
    """What a deployment needs beside the bundle.

    Attributes:
        folder: of the releases on the board, absolute or in the user's home.
        timeout_s: from the start of the application to its first frame through the DPU.
        dry_run: check and plan, change nothing.
        app_folder: the application to ship.
        on_sent: called with the path and the bytes, whenever a part of a file was sent.
    """

    address: BoardAddress
    start: StartSettings = StartSettings()
    folder: str = DEFAULT_FOLDER
    identity: Path | None = None
    known_hosts: Path = DEFAULT_KNOWN_HOSTS
    accept_host_key: str | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    dry_run: bool = False
    app_folder: Path = field(default_factory=application_folder)
    on_sent: Callable[[str, int], None] = lambda path, count: None


def deploy(bundle_path: Path, options: DeployOptions, steps: Steps) -> Report:
    """Deploy a bundle; what went wrong is in the report, with the steps until then."""
    report = Report(str(options.address), steps=steps.done, dry_run=options.dry_run)
    try:
        with steps.step("bundle") as step:
            bundle = load_bundle(bundle_path)
            release = make_release(bundle, options.start, options.app_folder)
            report.release, report.model_sha256 = release.id, bundle.model_sha256
            step.message = f"{bundle.spec.name}, {len(release.files)} files, {release.bytes / 1e6:.2f} MB"
        with steps.step("connect") as step:
            board = Board(options.address, options.identity, options.known_hosts, options.accept_host_key)
            step.message = f"{options.address}, host key {board.host_key_sha256}"
        with board:
            _Deployment(board, bundle, release, options, steps, report).run()
    except (RoadslimError, DpuError) as error:
        report.error = error
        if isinstance(error, RolledBackError):
            report.result = "rolled_back"
    return report


class _Deployment:
    """The part of a deployment that happens on a connected board."""

    def __init__(
        self, board: Board, bundle: Bundle, release: Release, options: DeployOptions, steps: Steps, report: Report
    ) -> None:
        self.board, self.bundle, self.release, self.options = board, bundle, release, options
        self.steps, self.report = steps, report
        self.releases = Releases(board, options.folder)
        self.service = Service(board, self.releases)

    def run(self) -> None:
        with self.steps.step("preflight") as step:
            step.message = str(check_board(self.board, self.releases, self.service, self.bundle, self.release))
        if self.options.dry_run:
            self._plan()
            return
        self.releases.make_folders()
        with deploy_lock(self.board, self.releases.path("deploy.lock")):
            previous = self.report.previous = self.releases.current()
            present = self._already_there()
            if present is not None:
                self.report.release = present
                if present == previous and self._serves(present):
                    with self.steps.step("unchanged") as step:
                        step.message = f"{present} serves already, 0 bytes sent"
                    self.report.result = "unchanged"
                    return
            else:
                present = self.release.id
                self._upload()
            try:
                self._switch(present, previous)
            except (DeployError, KeyboardInterrupt) as error:
                self._back_to(previous, present, error)
            self.report.result = "healthy"
            self._record("healthy")
            with self.steps.step("tidy") as step:
                removed = self.releases.tidy([present, previous])
                step.message = f"removed {len(removed)} old release(s)" if removed else "nothing to remove"

    def _plan(self) -> None:
        with self.steps.step("plan") as step:
            documents = self.releases.documents()
            same = [name for name, document in documents.items() if document["digest"] == self.release.digest]
            known = {entry["sha256"] for document in documents.values() for entry in document["files"].values()}
            missing = [file for file in self.release.files if file.sha256 not in known]
            size_mb = sum(file.bytes for file in missing) / 1e6
            current = self.releases.current()
            step.message = (
                f"would send {len(missing)} of {len(self.release.files)} files ({size_mb:.2f} MB) as "
                f"{same[0] if same else self.release.id}; current is {current or 'none'}; nothing was changed"
            )
        self.report.previous = current
        self.report.result = "unchanged"

    def _already_there(self) -> str | None:
        """A release on the board that has our content, every hash checked; the current one first."""
        same = [name for name, doc in self.releases.documents().items() if doc.get("digest") == self.release.digest]
        same.sort(key=lambda name: name != self.report.previous)
        return next(
            (
                name
                for name in same
                if not self.releases.wrong_files(self.releases.release_path(name), self.release.files)
            ),
            None,
        )

    def _serves(self, release_id: str) -> bool:
        running = self.service.running()
        document = self.service.health(self.options.start) if running and running.release == release_id else None
        return bool(document and document.get("release") == release_id and document.get("healthy") is True)

    def _upload(self) -> None:
        with self.steps.step("upload", spinner=False) as step, self.steps.upload_progress(self.release.bytes) as bar:
            task = bar.add_task("upload", total=self.release.bytes)

            def sent(path: str, count: int) -> None:
                bar.advance(task, count)
                self.report.bytes_sent += count
                self.options.on_sent(path, count)

            uploaded = self.releases.upload(self.release, sent)
            self.report.bytes_sent = uploaded.bytes
            reused = len(self.release.files) - uploaded.files
            step.message = f"{uploaded.files} files, {uploaded.bytes / 1e6:.2f} MB sent; {reused} were there already"
        with self.steps.step("verify") as step:
            self.releases.finish(self.release)
            step.message = f"SHA-256 of {len(self.release.files)} files equal on the board"

    def _switch(self, release_id: str, previous: str | None) -> None:
        with self.steps.step("switch") as step:
            self.releases.switch_to(release_id)
            step.message = f"{previous or 'nothing'} -> {release_id}"
        self._start(release_id, self.options.start, "start", "health", self.options.timeout_s)

    def _start(self, release_id: str, settings: StartSettings, start: str, health: str, timeout_s: float) -> None:
        with self.steps.step(start) as step:
            stopped = self.service.stop()
            self.service.start(release_id, settings)
            step.message = f"stopped {stopped.release}" if stopped and stopped.release != release_id else ""
        with self.steps.step(health) as step:
            document = self.service.wait_until_healthy(release_id, settings, timeout_s)
            step.message = f"first frame went through the DPU, {release_id} serves {document.get('source')}"

    def _back_to(self, previous: str | None, failed: str, error: DeployError | KeyboardInterrupt) -> None:
        """Undo a switch, and raise what the user must hear."""
        if isinstance(error, ConnectionFailed):
            raise error  # nothing can be undone without the board; the next deployment finds out what serves
        self.report.log = self.service.log_tail(failed)
        log = "".join(f"\n  | {line}" for line in self.report.log)
        told = "See its log, then deploy again." + (f"\nThe last lines of the log of {failed}:{log}" if log else "")
        with self.steps.step("roll back") as step:
            self.service.stop()
            if previous != failed:
                self.releases.switch_to(previous)
            step.message = f"{failed} -> {previous or 'nothing'}"
        if previous is None or previous == failed:
            self._record("failed")
            if isinstance(error, KeyboardInterrupt):
                raise error
            raise NotHealthyError(f"{error} It was stopped; nothing runs now. {told}") from error
        self._restart(previous, f"{error}", told)
        self._record("rolled_back")
        if isinstance(error, KeyboardInterrupt):
            raise error
        raise RolledBackError(f"{error} Rolled back: {previous} serves again. {told}") from error

    def _restart(self, previous: str, why: str, told: str) -> None:
        document = self.releases.document(previous)
        try:
            if document is None:
                raise NotHealthyError(f"{previous} has no {RELEASE_FILE} that can be read.")
            timeout_s = max(self.options.timeout_s, DEFAULT_TIMEOUT_S)
            self._start(previous, StartSettings.of(document), "restart", "health", timeout_s)
        except NotHealthyError as worse:
            self._record("failed")
            raise NotHealthyError(
                f"{why} {previous}, the release before it, does not come up either: {worse} {told}"
            ) from worse

    def _record(self, result: str) -> None:
        now = datetime.datetime.now(datetime.UTC)
        entry = {
            "t_utc": now.isoformat(timespec="seconds"),
            "who": this_user(),
            "release": self.report.release,
            "previous": self.report.previous,
            "result": result,
        }
        try:
            self.releases.record(entry)
        except BoardCommandError as error:
            _log.warning("%s", error)
