"""The command line: `python3 -m board_app --bundle DIR --source SOURCE`."""

from __future__ import annotations

import argparse
import json
import logging
import re
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Dict, List, Optional

from board_app import __version__
from board_app.annotate import shown_names
from board_app.annotated_output import open_annotated
from board_app.core.bundle import Bundle, load_bundle
from board_app.core.detector import Detector
from board_app.core.errors import RoadslimError, UsageError
from board_app.detections_file import DetectionsFile
from board_app.dpu_runner import open_runners
from board_app.frames import Source
from board_app.health import Health
from board_app.metrics import Metrics
from board_app.pipeline import Pipeline, Sink
from board_app.sources import GRAMMAR, open_source
from board_app.web.server import parse_listen, start_server

_log = logging.getLogger("board_app")

DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_THREADS = 2  # the ZCU104 image has two DPU cores
RELEASE_FILE = "release.json"  # as `roadslim deploy` writes it beside the bundle
INTERRUPTED = 130


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text}")
    return value


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text}")
    return int(text)


def _threads(text: str) -> int:
    value = _count(text)
    if value > 64:
        raise argparse.ArgumentTypeError(f"expected at most 64 threads, found {text}")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a confidence between 0 and 1, found {text}")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that `python3 -m board_app` and `roadslim live` share: all but the bundle."""
    parser.add_argument("--source", required=True, metavar="SOURCE", help=GRAMMAR.replace("%", "%%"))
    parser.add_argument("--loop", action="store_true", help="begin files again at their end")
    parser.add_argument("--seconds", type=_positive, metavar="N", help="stop after so many seconds")
    parser.add_argument("--max-frames", type=_count, metavar="N", help="stop after so many frames")
    parser.add_argument(
        "--threads", type=_threads, default=DEFAULT_THREADS, metavar="N", help="runners at once (default: %(default)s)"
    )
    parser.add_argument("--confidence", type=_share, metavar="X", help="threshold instead of the bundle's")
    parser.add_argument("--detections", type=Path, metavar="FILE", help="add one JSON line a frame to this file")
    parser.add_argument(
        "--annotated", type=Path, metavar="PATH", help="annotated pictures: a new .avi, .mp4 or .mkv, or a new folder"
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help=f"where the live page is (default: {DEFAULT_LISTEN}; port 0: any free)"
    )
    parser.add_argument("--no-web", action="store_true", help="no live page")
    parser.add_argument(
        "--release", metavar="ID", help="name of this release (default: what release.json beside the bundle says)"
    )
    parser.add_argument("--json", action="store_true", help="the summary at the end as JSON on stdout")
    parser.add_argument("--verbose", action="store_true", help="log details")


def build_parser() -> argparse.ArgumentParser:
    """The parser of `python3 -m board_app`."""
    parser = argparse.ArgumentParser(
        prog="python3 -m board_app",
        description="Watch a road: detections of a bundle's model on the DPU, live page, records.",
        epilog="example:\n  python3 -m board_app --bundle road.bundle --source camera:0 --detections detections.jsonl",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--bundle", required=True, type=Path, metavar="DIR", help="the bundle's folder")
    add_arguments(parser)
    parser.add_argument("--version", action="version", version=f"roadslim {__version__}")
    return parser


def _release(args: argparse.Namespace) -> Optional[str]:
    if args.release:
        return str(args.release)
    try:
        document = json.loads((args.bundle.resolve().parent / RELEASE_FILE).read_text(encoding="utf-8"))
        return str(document["release"])
    except (OSError, ValueError, KeyError, TypeError):  # none, or none of ours: the name is only told
        return None


class _Signals:
    """Turns SIGTERM and SIGINT into one call; a second one ends the process at once."""

    def __init__(self) -> None:
        self.received: Optional[int] = None
        self._pipeline: Optional[Pipeline] = None

    def install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def stop(self, pipeline: Pipeline) -> None:
        """From now on a signal stops the pipeline; one that came before stops it at once."""
        self._pipeline = pipeline
        if self.received is not None:
            pipeline.stop()

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        if self.received is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.received = number
        if self._pipeline is None:
            raise KeyboardInterrupt
        self._pipeline.stop()


def _sinks(args: argparse.Namespace, bundle: Bundle, source: Source) -> List[Sink]:
    sinks: List[Sink] = []
    if args.detections is not None:
        sinks.append(DetectionsFile(args.detections))
    if args.annotated is not None:
        if Path(args.annotated).resolve() == Path(args.source).resolve():
            raise UsageError(f"--annotated {args.annotated}: expected another place than the source. Choose another.")
        sinks.append(open_annotated(args.annotated, shown_names(bundle.spec.classes, bundle.labels), source.fps))
    return sinks


def run(args: argparse.Namespace, signals: _Signals) -> Dict[str, Any]:
    """Run the application to its end and give the summary.

    Raises:
        RoadslimError: a flag, the bundle, the source, the DPU or an output is wrong.
    """
    metrics = Metrics(args.threads)
    health = Health(_release(args), metrics)
    with ExitStack() as stack:
        if not args.no_web:
            server = start_server(parse_listen(args.listen or DEFAULT_LISTEN), health, fall_back=args.listen is None)
            stack.callback(server.stop)
            _log.info("live page at %s", server.url)
        health.enter("the bundle is being read")
        bundle = load_bundle(args.bundle)
        source = open_source(args.source, args.loop)
        health.has(bundle, source)
        health.enter("the model is being loaded onto the DPU")
        runners = open_runners(bundle, args.threads)
        metrics.origin = runners[0].origin
        _log.info("%s (%s) from %s on %d thread(s)", bundle.spec.name, bundle.path, source.name, args.threads)
        detector = Detector(bundle.spec, _no_forward, args.confidence)
        sinks = [*_sinks(args, bundle, source), health]
        pipeline = Pipeline(source, detector, [runner.run for runner in runners], sinks, metrics, args.max_frames)
        signals.stop(pipeline)
        health.enter("the first frame is on its way")
        pipeline.run(args.seconds)
    return {
        "schema_version": 1,
        "roadslim_version": __version__,
        **metrics.summary(),
        "threads": args.threads,
        "source": source.name,
        "unreadable": source.unreadable,
        "reconnects": source.reconnects,
        "model": bundle.spec.name,
        "model_sha256": bundle.model_sha256,
        "release": health.release,
    }


def _no_forward(picture: Any) -> List[Any]:
    raise AssertionError("the pipeline runs the network itself")


def _summary_text(summary: Dict[str, Any]) -> str:
    def pair(times: Dict[str, Optional[float]]) -> str:
        return " ".join(f"{name} {'-' if value is None else f'{value:.1f}'}" for name, value in times.items())

    stages = summary["stages_ms"]
    return "\n".join(
        [
            f"frames    {summary['frames_in']} in, {summary['frames_done']} done, {summary['frames_dropped']} dropped, "
            f"{summary['unreadable']} unreadable; {summary['detections']} detections",
            f"rate      {summary['fps']:.1f} fps over {summary['seconds']:.1f} s; "
            f"the DPU alone would allow {summary['dpu_bound_fps']:.1f} fps ({summary['origin']})",
            f"latency   {pair(summary['latency_ms'])} ms from capture to result",
            f"stages    preprocess {pair(stages['preprocess'])} | dpu {pair(stages['dpu'])} | "
            f"postprocess {pair(stages['postprocess'])} ms",
            f"memory    {summary['peak_rss_mb']:.0f} MB at most",
        ]
    )


def main(argv: Optional[List[str]] = None) -> int:
    """Run and return the exit code: 0 done or ended by SIGTERM, 1 failed, 2 usage, 130 interrupted."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    signals = _Signals()
    signals.install()
    try:
        summary = run(args, signals)
    except RoadslimError as error:
        print(f"board_app: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"board_app: {error}. What was written before is whole. Free space or correct the path.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("board_app: interrupted before the first frame. The same command starts it again.", file=sys.stderr)
        return INTERRUPTED if signals.received == signal.SIGINT else 0
    except Exception as error:  # the program's top: whatever it was, the log must show where
        _log.exception("failed")
        print(f"board_app: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(summary) if args.json else _summary_text(summary), flush=True)
    return INTERRUPTED if signals.received == signal.SIGINT else 0
