"""Whole deployments to a real OpenSSH server, mostly of a tiny application in place of the real one."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest

from board_app.core.bundle import Bundle
from board_app.core.errors import BundleError
from deploy.board import Board
from deploy.deployment import DeployOptions, deploy
from deploy.errors import (
    BoardCommandError,
    ConnectionFailed,
    LockedError,
    NotHealthyError,
    PreflightError,
    RolledBackError,
    UploadError,
)
from deploy.lock import deploy_lock
from deploy.manifest import StartSettings
from deploy.report import Report
from deploy.service import Service
from deploy.steps import Steps
from deploy.testing import LoopbackBoard, free_port, has_namespaces, loopback_board, why_no_board

pytestmark = pytest.mark.board

MakeOptions = Callable[..., DeployOptions]
MakeApp = Callable[..., Path]
MakeBundle = Callable[..., Bundle]
NewSteps = Callable[[], Steps]


def current(board: LoopbackBoard) -> str | None:
    link = board.dir / "current"
    return os.readlink(link).removeprefix("releases/") if link.is_symlink() else None


def health(options: DeployOptions) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{options.start.listen}/healthz", timeout=10) as answer:
        document = json.loads(answer.read())
    assert isinstance(document, dict)
    return document


def releases(board: LoopbackBoard) -> list[str]:
    return sorted(path.name for path in (board.dir / "releases").iterdir())


def expect(report: Report, result: str, error: type[Exception] | None = None) -> str:
    """Check how a deployment ended, and give the error's text."""
    assert (report.result, type(report.error)) == (result, error or type(None)), report.error
    return str(report.error)


def names(report: Report, ok: bool = True) -> list[str]:
    return [step.name for step in report.steps if step.ok is ok]


def test_first_again_and_new(
    board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps, make_app: MakeApp
) -> None:
    """The first serves; the same again sends nothing; a new version takes over and sends only what changed."""
    first_options = options()
    first = deploy(small_bundle.path, first_options, new_steps())
    expect(first, "healthy")
    assert names(first) == [
        *("bundle", "connect", "preflight", "upload", "verify", "switch", "start", "health", "tidy"),
    ]
    assert current(board) == first.release == health(first_options)["release"]
    release = board.dir / "releases" / str(first.release)
    shipped = {path.relative_to(release).as_posix() for path in release.rglob("*") if "__pycache__" not in path.parts}
    assert {name for name in shipped if (release / name).is_file()} == {
        *("board_app/__init__.py", "board_app/__main__.py", "board_app/web/page.html"),
        *("bundle/detector.json", "bundle/labels.txt", "bundle/model.xmodel", "release.json"),
    }
    assert first.bytes_sent == sum((release / name).stat().st_size for name in shipped if (release / name).is_file())

    again = deploy(small_bundle.path, first_options, new_steps())
    expect(again, "unchanged")
    assert (again.release, again.bytes_sent) == (first.release, 0)

    app2 = make_app(version="2")
    second = deploy(small_bundle.path, options(app_folder=app2), new_steps())
    expect(second, "healthy")
    assert (second.previous, health(first_options)["version"]) == (first.release, "2")
    main = (app2 / "__main__.py").stat().st_size
    assert second.bytes_sent == main + (board.dir / "current" / "release.json").stat().st_size

    back = deploy(small_bundle.path, first_options, new_steps())
    expect(back, "healthy")
    assert (back.release, back.bytes_sent, health(first_options)["version"]) == (first.release, 0, "1")
    recorded = [json.loads(line) for line in (board.dir / "deploys.jsonl").read_text().splitlines()]
    assert [line["release"] for line in recorded] == [first.release, second.release, first.release]


@pytest.mark.parametrize("board", [True], indirect=True, ids=["real modules"])
def test_the_real_application(
    board: LoopbackBoard, options: MakeOptions, new_steps: NewSteps, make_bundle: MakeBundle
) -> None:
    """The application of this checkout serves from its release; a model that it refuses is rolled back."""
    real = DeployOptions(options().address).app_folder
    good = make_bundle("good")
    first = deploy(good.path, options(app_folder=real), new_steps())
    expect(first, "healthy")
    found = health(options())
    assert found["frames_done"] >= 1
    assert (found["release"], found["model_sha256"]) == (first.release, good.model_sha256)
    assert (board.dir / "shared" / "detections.jsonl").read_text().startswith('{"')

    refused = make_bundle("refused", input_tensor="another")
    second = deploy(refused.path, options(app_folder=real), new_steps())
    text = expect(second, "rolled_back", RolledBackError)
    assert "another is not in the model" in text
    assert current(board) == first.release == health(options())["release"]
    third = deploy(good.path, options(app_folder=real), new_steps())
    expect(third, "unchanged")


@pytest.mark.parametrize(
    ("wrong", "found"), [("exits", "that the application ended"), ("ill", "no frame yet")], ids=["exits", "ill"]
)
def test_a_bad_release_is_rolled_back(
    board: LoopbackBoard,
    options: MakeOptions,
    small_bundle: Bundle,
    wrong: str,
    found: str,
    new_steps: NewSteps,
    make_app: MakeApp,
) -> None:
    """It ends or never gets healthy: the old one serves again, with its own settings, and the log is shown."""
    start = StartSettings("drive:2", f"127.0.0.1:{free_port()}")
    first = deploy(small_bundle.path, options(start=start), new_steps())
    expect(first, "healthy")
    bad = make_app("2", wrong)
    report = deploy(small_bundle.path, options(app_folder=bad, timeout_s=1.5), new_steps())
    text = expect(report, "rolled_back", RolledBackError)
    assert report.error is not None and report.error.exit_code == 3
    assert f"found {found}" in text and f"{first.release} serves again" in text
    assert f"| version 2, release {report.release} in " in text
    assert (names(report, ok=False), names(report)[-3:]) == (["health"], ["roll back", "restart", "health"])
    served = health(options(start=start))
    assert (served["release"], served["version"], served["source"]) == (first.release, "1", "drive:2")
    assert current(board) == first.release


def test_an_interrupted_deployment_is_undone(
    board: LoopbackBoard,
    options: MakeOptions,
    small_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    new_steps: NewSteps,
    make_app: MakeApp,
) -> None:
    """Ctrl-C while the new release starts: the old one serves again, then the interrupt goes on."""
    first = deploy(small_bundle.path, options(), new_steps())
    wait = Service.wait_until_healthy

    def interrupted(service: Service, release_id: str, settings: StartSettings, timeout_s: float) -> dict[str, Any]:
        if release_id != first.release:
            raise KeyboardInterrupt
        return wait(service, release_id, settings, timeout_s)

    monkeypatch.setattr(Service, "wait_until_healthy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        deploy(small_bundle.path, options(app_folder=make_app("2")), new_steps())
    assert current(board) == first.release == health(options())["release"]


def test_a_first_deployment_that_fails(
    board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps, make_app: MakeApp
) -> None:
    """Nothing runs and nothing is current; the same content, deployed again when the cause is gone, is not sent."""
    bad = make_app(wrong="exits")
    report = deploy(small_bundle.path, options(app_folder=bad), new_steps())
    text = expect(report, "failed", NotHealthyError)
    assert "nothing runs now" in text and "the DPU refuses the model" in text
    assert current(board) is None
    again = deploy(small_bundle.path, options(app_folder=bad), new_steps())
    expect(again, "failed", NotHealthyError)
    assert (again.bytes_sent, again.release) == (0, report.release)
    expect(deploy(small_bundle.path, options(), new_steps()), "healthy")


def test_a_stubborn_application(
    options: MakeOptions, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, new_steps: NewSteps, make_app: MakeApp
) -> None:
    """What ignores SIGTERM is killed after the time limit, and the new one serves."""
    monkeypatch.setattr("deploy.service.STOP_LIMIT_S", 0.5)
    stubborn = make_app(wrong="stubborn")
    expect(deploy(small_bundle.path, options(app_folder=stubborn), new_steps()), "healthy")
    expect(deploy(small_bundle.path, options(), new_steps()), "healthy")
    assert health(options())["version"] == "1"


def test_an_application_that_died(
    board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps
) -> None:
    """The same content whose process is gone is started again without sending; a reused process id is left alone."""
    first = deploy(small_bundle.path, options(), new_steps())
    with Board(board.address, board.identity, board.known_hosts) as connected:
        connected.shell('kill -KILL "$(cat "$1")"', f"{board.dir}/shared/board_app.pid", doing="killing")
        connected.shell('sleep 60 >&- 2>&- <&- & echo $! > "$1"', f"{board.dir}/shared/board_app.pid", doing="reusing")
        again = deploy(small_bundle.path, options(), new_steps())
        expect(again, "healthy")
        assert (again.release, again.bytes_sent, health(options())["release"]) == (first.release, 0, first.release)
        assert "sleep" in connected.run(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).stdout


def test_a_wrong_hash_is_refused_before_anything_is_sent(
    board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps
) -> None:
    """A changed bundle does not even lead to a connection."""
    with open(small_bundle.model_path, "ab") as stream:
        stream.write(b"x")
    report = deploy(small_bundle.path, options(), new_steps())
    assert "SHA-256" in expect(report, "failed", BundleError)
    assert (names(report, ok=False), list(board.dir.iterdir())) == (["bundle"], [])
    assert b"Accepted" not in board.log.read_bytes()


def test_a_corrupted_upload(
    board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps, make_app: MakeApp
) -> None:
    """A file that changed on its way is detected on the board; what served still does, and no part is left."""
    first = deploy(small_bundle.path, options(), new_steps())
    damaged: list[Path] = []

    def damage(path: str, count: int) -> None:
        if path == "release.json":  # sent last
            damaged.extend(board.dir.glob("releases/*.partial/board_app/__main__.py"))
            damaged[0].write_bytes(damaged[0].read_bytes()[:-1] + b"x")

    app2 = make_app(version="2")
    report = deploy(small_bundle.path, options(app_folder=app2, on_sent=damage), new_steps())
    text = expect(report, "failed", UploadError)
    assert "board_app/__main__.py with SHA-256" in text and len(damaged) == 1
    assert names(report, ok=False) == ["verify"]
    assert (current(board), releases(board)) == (first.release, [first.release])
    assert health(options())["release"] == first.release
    assert report.bytes_sent > 0


def test_a_rotten_release_on_the_board(
    board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps
) -> None:
    """Files of the current release that are no longer as they were are not reused; the content is sent afresh."""
    first = deploy(small_bundle.path, options(), new_steps())
    page = board.dir / "current" / "board_app" / "web" / "page.html"
    page.write_text("rotten\n")
    time.sleep(1.0)  # ids carry seconds
    second = deploy(small_bundle.path, options(), new_steps())
    expect(second, "healthy")
    assert second.release != first.release
    assert page.read_text() == "<p>the same in every version</p>\n"
    assert second.bytes_sent == page.stat().st_size + (board.dir / "current" / "release.json").stat().st_size


def test_the_connection_is_lost_midway(
    board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps, make_app: MakeApp
) -> None:
    """Current is as it was and serves; the next deployment needs no lock broken and clears the unfinished part."""
    first = deploy(small_bundle.path, options(), new_steps())
    app2 = make_app(version="2")
    dropped: list[str] = []

    def drop(path: str, count: int) -> None:
        if not dropped:
            dropped.append(path)
            board.drop_connections()

    report = deploy(small_bundle.path, options(app_folder=app2, on_sent=drop), new_steps())
    text = expect(report, "failed", ConnectionFailed)
    assert "expected the connection to hold" in text and dropped
    assert (current(board), health(options())["release"]) == (first.release, first.release)
    assert any(name.endswith(".partial") for name in releases(board))
    second = deploy(small_bundle.path, options(app_folder=app2), new_steps())
    expect(second, "healthy")
    assert releases(board) == [first.release, second.release]


def test_a_channel_that_cannot_be_closed_hides_nothing(board: LoopbackBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks while the lock is held: paramiko may raise where the channel is closed."""
    (board.dir / "shared").mkdir(parents=True, exist_ok=True)

    def close(_channel: paramiko.Channel) -> None:
        raise EOFError

    with Board(board.address, board.identity, board.known_hosts) as connected:
        with pytest.raises(ConnectionFailed, match="broke"):
            with deploy_lock(connected, f"{board.dir}/deploy.lock"):
                monkeypatch.setattr(paramiko.Channel, "close", close)
                raise ConnectionFailed("broke")


def test_the_plug_is_pulled_midway(
    board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps, make_app: MakeApp
) -> None:
    """After power is back the old release is still current, and the same command goes through."""
    first = deploy(small_bundle.path, options(), new_steps())
    app2 = make_app(version="2")
    report = deploy(small_bundle.path, options(app_folder=app2, on_sent=lambda path, count: board.stop()), new_steps())
    expect(report, "failed", ConnectionFailed)
    board.start()
    assert current(board) == first.release
    expect(deploy(small_bundle.path, options(app_folder=app2), new_steps()), "healthy")
    assert health(options())["version"] == "2"


def test_two_at_once(board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps) -> None:
    """The second is refused with who, when and how to break the lock; broken or let go, it goes through."""
    (board.dir / "shared").mkdir()
    lock = f"{board.dir}/deploy.lock"
    with Board(board.address, board.identity, board.known_hosts) as connected, deploy_lock(connected, lock):
        report = deploy(small_bundle.path, options(), new_steps())
        text = expect(report, "failed", LockedError)
        assert "found one by " in text and "UTC. Wait" in text
        command = text.rpartition("break the lock: ")[2]
        assert command.startswith(f"ssh -p {board.address.port} {board.address.user}@127.0.0.1 kill ")
        connected.run(command.split()[-2:])
        expect(deploy(small_bundle.path, options(), new_steps()), "healthy")


def test_the_last_three_releases_are_kept(
    board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps
) -> None:
    """Older ones go, but never the current one and the one before it."""
    for number in range(5):
        folder = board.dir / "releases" / f"2020010{number}-000000-abc"
        folder.mkdir(parents=True)
    (board.dir / "current").symlink_to("releases/20200101-000000-abc")
    report = deploy(small_bundle.path, options(), new_steps())
    expect(report, "healthy")
    assert report.previous == "20200101-000000-abc"
    assert releases(board) == [f"2020010{n}-000000-abc" for n in (1, 3, 4)] + [report.release]


def test_a_dry_run_changes_nothing(
    board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps
) -> None:
    """It checks the board and says what would be sent."""
    report = deploy(small_bundle.path, options(dry_run=True), new_steps())
    expect(report, "unchanged")
    assert list(board.dir.iterdir()) == []
    assert report.steps[-1].message.startswith("would send 6 of 6 files")
    assert names(report) == ["bundle", "connect", "preflight", "plan"]


def test_everything_that_is_missing_is_said_at_once(
    board: LoopbackBoard,
    options: MakeOptions,
    small_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    new_steps: NewSteps,
) -> None:
    """Modules, port, room and the DPU's fingerprint in one error, each with its remedy, and nothing sent."""
    (board.site / "vart.py").write_text("import xir\n")
    (board.site / "xir.py").write_text("raise ImportError('libxir.so.2: cannot open shared object file')\n")
    board.add_program(
        "xdputil", '#!/bin/sh\necho WARNING >&2\necho \'{"kernels": [{"fingerprint": "0x101000056010407"}]}\'\n'
    )
    monkeypatch.setattr("deploy.preflight.SPARE_BYTES", 2**60)
    start = StartSettings("drive:1", f"127.0.0.1:{board.address.port}")  # sshd itself listens there
    report = deploy(small_bundle.path, options(start=start), new_steps())
    text = expect(report, "failed", PreflightError)
    assert len(text.splitlines()) == 6  # the head, xir, vart, room, port, fingerprint
    assert "libxir.so.2" in text and "vai_runtime" in text
    assert "MB free at" in text and "--listen HOST:PORT" in text
    assert "0x101000056010407" in text and "roadslim compile BUNDLE --fingerprint 0x101000056010407" in text
    assert list(board.dir.iterdir()) == []


def test_no_python_on_the_board(
    board: LoopbackBoard, options: MakeOptions, small_bundle: Bundle, new_steps: NewSteps
) -> None:
    """A board without a python3 that works is named as such."""
    board.add_program("python3", "#!/bin/sh\necho 'python3: broken' >&2; exit 127\n")
    text = expect(deploy(small_bundle.path, options(), new_steps()), "failed", PreflightError)
    assert "expected a python3 of version 3.9 or newer on the board, found none that works (python3: broken)" in text


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """A board whose releases are on a tmpfs with the options given as parameter."""
    if why_no_board() is not None or not has_namespaces():
        pytest.skip(why_no_board() or "needs root, to mount a small file system")
    with loopback_board(tmp_path / "small_disk", real_modules=False, tmpfs=request.param) as board:
        yield board


def run_on(board: LoopbackBoard, *argv: str) -> str:
    with Board(board.address, board.identity, board.known_hosts) as connected:
        return connected.run(argv).stdout


@pytest.mark.parametrize("small_disk", ["size=4m"], indirect=True)
def test_too_little_room(small_disk: LoopbackBoard, small_bundle: Bundle, fake_app: Path, new_steps: NewSteps) -> None:
    """A disk that would be full is found before anything is sent."""
    options = disk_options(small_disk, fake_app)
    text = expect(deploy(small_bundle.path, options, new_steps()), "failed", PreflightError)
    assert "found 4.2 MB" in text
    assert run_on(small_disk, "ls", str(small_disk.dir)) == ""


def disk_options(board: LoopbackBoard, app_folder: Path) -> DeployOptions:
    return DeployOptions(
        board.address,
        StartSettings("drive:1", f"127.0.0.1:{free_port()}"),
        str(board.dir),
        board.identity,
        board.known_hosts,
        timeout_s=20.0,
        app_folder=app_folder,
    )


@pytest.mark.parametrize("small_disk", ["size=600k"], indirect=True)
def test_the_disk_fills_up_midway(
    small_disk: LoopbackBoard,
    small_bundle: Bundle,
    fake_app: Path,
    monkeypatch: pytest.MonkeyPatch,
    new_steps: NewSteps,
    make_app: MakeApp,
) -> None:
    """The release that serves still does, the unfinished part is gone, and with room the same command goes through."""
    monkeypatch.setattr("deploy.preflight.SPARE_BYTES", -(2**20))
    options = disk_options(small_disk, fake_app)
    first = deploy(small_bundle.path, options, new_steps())
    expect(first, "healthy")
    app2 = make_app(version="2")
    ballast = app2 / "weights.bin"
    ballast.write_bytes(os.urandom(700_000))
    report = deploy(small_bundle.path, replace(options, app_folder=app2), new_steps())
    text = expect(report, "failed", UploadError)
    assert "Free some space there" in text and "tmpfs 600" in text
    assert run_on(small_disk, "readlink", f"{small_disk.dir}/current").strip() == f"releases/{first.release}"
    assert run_on(small_disk, "ls", f"{small_disk.dir}/releases").split() == [first.release]
    assert health(options)["release"] == first.release
    ballast.unlink()
    expect(deploy(small_bundle.path, replace(options, app_folder=app2), new_steps()), "healthy")
    assert health(options)["version"] == "2"


@pytest.mark.parametrize("small_disk", ["size=4m,nr_inodes=5"], indirect=True)
def test_folders_that_cannot_be_made(
    small_disk: LoopbackBoard,
    small_bundle: Bundle,
    fake_app: Path,
    monkeypatch: pytest.MonkeyPatch,
    new_steps: NewSteps,
) -> None:
    """A disk that takes no more files is named, and nothing is current."""
    monkeypatch.setattr("deploy.preflight.SPARE_BYTES", 0)
    report = deploy(small_bundle.path, disk_options(small_disk, fake_app), new_steps())
    assert "No space left on device" in expect(report, "failed", BoardCommandError)
    assert run_on(small_disk, "ls", str(small_disk.dir)).split() == ["deploy.lock", "releases", "shared"]
