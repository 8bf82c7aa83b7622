"""`roadslim deploy` and `roadslim live`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from deploy.address import BoardAddress
    from deploy.manifest import StartSettings

PACES = ("off", "predicted")
PACE_VARIABLE = "ROADSLIM_DPU_PACE"  # of dpu's stand-in for vart


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `deploy` or `live`."""
    {"deploy": _add_deploy, "live": _add_live}[name](parser)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, found {text}")
    return value


def _add_deploy(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Put a bundle on a board and start it. Host key and board are checked, what the board lacks is\n"
        "uploaded and verified there, the switch is atomic; if the first frame does not go through the DPU\n"
        "in time, the release before serves again. Log in with a key; nothing is installed on the board."
    )
    parser.epilog = (
        "example:\n  roadslim deploy runs/demo/bundle/demo.bundle --board root@192.168.1.20 --source camera:0\n\n"
        "exit code: 0 it serves (or served already), 1 failed, 2 usage, 3 rolled back, 130 interrupted"
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .bundle folder")
    parser.add_argument("--board", required=True, metavar="USER@HOST:PORT", help="USER is root and PORT 22 if left out")
    parser.add_argument(
        "--source", default="camera:0", help="what the board watches; paths are the board's own (default: %(default)s)"
    )
    parser.add_argument(
        "--listen", default="127.0.0.1:8080", metavar="HOST:PORT",
        help="where the board shows its live page (default: %(default)s, which only the board itself can reach)",
    )  # fmt: skip
    parser.add_argument(
        "--dir",
        default="roadslim",
        metavar="DIR",
        help="folder on the board, in the home or absolute (default: %(default)s)",
    )
    parser.add_argument(
        "--identity", type=Path, metavar="FILE", help="private key; else the agent's and those of ~/.ssh"
    )
    parser.add_argument(
        "--known-hosts", type=Path, default=Path("~/.ssh/known_hosts"), metavar="FILE",
        help="where the board's key must be (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--accept-host-key", metavar="SHA256:...", help="take exactly this unknown host key, and record it"
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=60.0, metavar="SECONDS",
        help="for the first frame through the DPU (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="check everything, change nothing")
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout; the steps go to stderr")
    parser.set_defaults(run=run_deploy)


def run_deploy(args: argparse.Namespace) -> int:
    """Deploy; the exit code is 0 or that of the error which is raised."""
    from rich.console import Console

    from deploy.address import BoardAddress
    from deploy.deployment import DeployOptions, deploy
    from deploy.manifest import StartSettings
    from deploy.steps import Steps

    options = DeployOptions(
        address=BoardAddress.parse(args.board),
        start=StartSettings(args.source, args.listen),
        folder=args.dir,
        identity=args.identity and args.identity.expanduser(),
        known_hosts=args.known_hosts,
        accept_host_key=args.accept_host_key,
        timeout_s=args.timeout,
        dry_run=args.dry_run,
    )
    terminal = Console(stderr=True, highlight=False)
    steps = Steps(terminal if args.json else Console(highlight=False), terminal)
    report = deploy(args.bundle, options, steps)
    if args.json:
        print(json.dumps(report.document()), flush=True)
    if report.error is not None:
        raise report.error
    if not args.json and not args.dry_run:
        steps.results.print(_where_to_look(options.address, options.start), soft_wrap=True)
    return 0


def _where_to_look(address: BoardAddress, start: StartSettings) -> str:
    if start.is_local:
        tunnel = address.ssh("").strip().replace("ssh ", f"ssh -N -L {start.port}:{start.asked_host}:{start.port} ", 1)
        return f"See it: {tunnel}, then http://127.0.0.1:{start.port}/"
    host = start.host if start.asked_host == start.host else address.host
    return f"See it: http://{f'[{host}]' if ':' in host else host}:{start.port}/"


class _Recorded:
    """Passes arguments on to a parser and keeps them, so that they can be handed through."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser
        self.actions: list[argparse.Action] = []

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        self.actions.append(self.parser.add_argument(*names, **settings))
        return self.actions[-1]

    def given(self, args: argparse.Namespace) -> list[str]:
        """The flags that differ from their defaults, as words of a command line."""
        words = []
        for action in self.actions:
            value = getattr(args, action.dest)
            if value != action.default:
                words.append(action.option_strings[0] if action.nargs == 0 else f"{action.option_strings[0]}={value}")
        return words


def _add_live(parser: argparse.ArgumentParser) -> None:
    from board_app.cli import add_arguments

    parser.description = (
        "Run the board application here, on the software DPU: the same program as on the board, as a process\n"
        "that takes this one's place, with the stand-ins for xir and vart in front on PYTHONPATH."
    )
    parser.epilog = (
        "example:\n  roadslim live runs/demo/bundle/demo.bundle --source drive:7 --seconds 20\n"
        "  roadslim live runs/demo/bundle/demo.bundle --source camera:0 --pace predicted"
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .bundle folder")
    parser.add_argument(
        "--pace", choices=PACES, default="off",
        help="off: as fast as this machine goes; predicted: no run ends before the predicted time (%(default)s)",
    )  # fmt: skip
    flags = _Recorded(parser)
    add_arguments(cast(argparse.ArgumentParser, flags))
    parser.set_defaults(run=lambda args: run_live(args.bundle, args.pace, flags.given(args)))


def run_live(bundle: Path, pace: str, flags: list[str]) -> int:
    """Become the board application; does not come back. Signals and the exit code are the application's own."""
    import dpu

    path = [str(dpu.stand_in_path()), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), PACE_VARIABLE: pace}
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-m", "board_app", "--bundle", str(bundle), *flags]
    os.execve(sys.executable, command, environment)  # noqa: S606
