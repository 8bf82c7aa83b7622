"""`roadslim data`: check, convert and make datasets."""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from board_app.core.errors import UsageError
from compress.data.wanted_flags import add_wanted, wanted_of
from compress.shares import share_argument

if TYPE_CHECKING:
    from compress.data.check import DatasetReport

_LOG = logging.getLogger(__name__)

_EXAMPLES = {
    "check": "example:\n  roadslim data check data/demo --figure sheet.png",
    "convert": (
        "example:\n  roadslim data convert RDD2022 data/asia --to yolo --val 20% --by scene \\\n"
        "    --countries Japan India --map D01=D00 D11=D10 --ignore Repair"
    ),
    "scenes": (
        "examples:\n  roadslim data scenes data/demo --images 800 --seed 1\n"
        "  roadslim data scenes data/drive --drive 30 --seed 7"
    ),
}


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the three commands of `roadslim data`."""
    parser.description = "Datasets: what is wrong with one, the same in another format, synthetic road scenes."
    parser.epilog = _EXAMPLES["check"]
    commands = parser.add_subparsers(dest="command", required=True, metavar="check | convert | scenes")
    _add_check(_command(commands, parser, "check", "Everything that is wrong with a dataset, and what is in it."))
    _add_convert(_command(commands, parser, "convert", "The same boxes in another format, into a new folder."))
    _add_scenes(_command(commands, parser, "scenes", "Synthetic road scenes with labels, or a drive with tracks."))


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    parser: argparse.ArgumentParser,
    name: str,
    description: str,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=description,
        description=description,
        epilog=_EXAMPLES[name],
        formatter_class=parser.formatter_class,
        allow_abbrev=False,
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="dataset folder: with dataset.yaml, or laid out as YOLO, VOC, COCO")
    add_wanted(parser)
    parser.add_argument(
        "--figure",
        type=Path,
        metavar="FILE",
        help="write a sheet (.png, .jpg) of what to look at: wrong boxes in red, pictures too alike, extremes, any",
    )
    parser.add_argument(
        "--near-duplicates",
        action="store_true",
        help="look for frames of one place in two splits too; some 20 s of processor time for a thousand images",
    )
    parser.add_argument("--json", action="store_true", help="a JSON document on stdout")
    parser.set_defaults(run=_check)


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="dataset folder to read")
    parser.add_argument("folder", type=Path, help="new folder to write")
    parser.add_argument("--to", required=True, choices=("yolo", "voc", "coco"), help="how labels are to be written")
    add_wanted(parser)
    parser.add_argument(
        "--val", type=share_argument, default=0.0, metavar="SHARE", help="of the images for val, such as 20%%"
    )
    parser.add_argument("--test", type=share_argument, default=0.0, metavar="SHARE", help="of the images for test")
    parser.add_argument(
        "--by",
        choices=("name", "scene"),
        help="name: adding images later moves none; scene: frames of one place stay together (default name)",
    )
    parser.add_argument("--anew", action="store_true", help="put the splits that are there together and divide again")
    parser.set_defaults(run=_convert)


def _add_scenes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="new folder to write")
    parser.add_argument("--images", type=int, default=800, metavar="N", help="training images (default %(default)s)")
    parser.add_argument("--val", type=int, metavar="N", help="validation images (default: an eighth)")
    parser.add_argument("--test", type=int, metavar="N", help="test images (default: an eighth)")
    parser.add_argument("--seed", type=int, default=1, help="another set for every seed (default %(default)s)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of the pictures, in pixels")
    parser.add_argument("--drive", type=float, metavar="SECONDS", help="a drive video with true tracks instead")
    parser.add_argument("--fps", type=float, default=15.0, help="of the drive (default %(default)g)")
    parser.add_argument("--processes", type=int, help="that render at once (default: one a core)")
    parser.add_argument("--replace", action="store_true", help="what this command made at DIR before may go")
    parser.set_defaults(run=_scenes)


def _check(args: argparse.Namespace) -> int:
    from compress.data.check import check_dataset
    from roadslim import roadslim_version

    if args.figure:
        from compress.data.contact_sheet import check_figure_name, write_contact_sheet
        from compress.data.sheet_pictures import pictures_to_look_at

        check_figure_name(args.figure)
    report = check_dataset(args.dataset, wanted_of(args), args.near_duplicates)
    if args.figure:
        write_contact_sheet(args.figure, pictures_to_look_at(report.datasets, report.problems + report.warnings))
        _LOG.info("figure: %s", args.figure)
    if args.json:
        document = {"schema_version": 1, "roadslim_version": roadslim_version()} | report.as_dict()
        print(json.dumps(document, indent=1))
    else:
        _print_report(report)
    return 1 if report.problems else 0


def _print_report(report: DatasetReport) -> None:
    from rich.console import Console
    from rich.table import Table

    from compress.data.problems import unknown_classes

    console = Console()
    console.print(f"{report.name}: {report.origin} ({report.kind}, {report.root})", markup=False, highlight=False)
    splits = Table("split", "images", "without damage", "boxes", "width px", "height px", title="Images")
    for name, split in report.splits.items():
        sides = ["–".join(map(str, dict.fromkeys(side))) for side in (split.width_px, split.height_px)]
        splits.add_row(name, *map(str, (split.images, split.images_without_boxes, split.boxes)), *sides)
    console.print(splits)
    columns = ["class", "meaning", *report.splits, "width px", "height px", "under 32² px"]
    classes = Table(*columns, title="Boxes (sides: smallest, median, largest)")
    for entry in report.classes:
        sides = [" ".join(f"{side:g}" for side in sides_px or ()) for sides_px in (entry.width_px, entry.height_px)]
        small = "" if entry.small_share is None else f"{entry.small_share:.0%}"
        classes.add_row(entry.name, entry.label, *map(str, entry.boxes.values()), *sides, small)
    console.print(classes)
    for problem in report.problems:
        print(problem)
    for warning in report.warnings:
        print(f"warning: {warning}")
    unknown = unknown_classes(report.problems)
    if unknown:
        print(f"{report.root}: {unknown}")
    counts = [_counted(len(report.problems), "problem"), _counted(len(report.warnings), "warning")]
    print(", ".join(filter(None, counts)) or "no problems")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}" if count else ""


def _convert(args: argparse.Namespace) -> int:
    from compress.data.dataset import load_splits
    from compress.data.problems import Problem, refuse
    from compress.data.splitting import images_to_divide, split_by_name, split_by_scene
    from compress.data.whole_folder import check_free
    from compress.data.writing import write_dataset

    if (args.anew or args.by) and not (args.val or args.test):
        raise UsageError(
            f"--{'anew' if args.anew else 'by'}: expected --val or --test with it, found none. Give a share"
        )
    check_free(args.folder)
    problems: list[Problem] = []
    splits = load_splits(args.dataset, wanted_of(args), problems)
    refuse(problems, args.dataset)
    scenes = None
    if args.val or args.test:
        whole = images_to_divide(splits, args.val, args.test, args.anew)
        if args.by == "scene":
            from compress.data.scene_grouping import group_scenes

            paths = [sample.image_path for sample in whole.samples]
            ids = group_scenes(paths).ids
            scenes = dict(zip(paths, map(int, ids), strict=True))
            splits = split_by_scene(whole, ids, args.val, args.test)
        else:
            splits = split_by_name(whole, args.val, args.test)
    write_dataset(args.folder, splits, args.to, scenes)
    counts = ", ".join(f"{len(part)} {name}" for name, part in splits.items())
    print(f"{args.folder}: {args.to}, images: {counts}")
    return 0


def _scenes(args: argparse.Namespace) -> int:
    if args.drive is not None:
        from compress.data.drive_video import make_drive

        size_hw = tuple(args.size or (480, 672))
        made = make_drive(args.folder, args.seed, args.drive, args.fps, size_hw, args.replace)
    else:
        from compress.data.scenes import SceneSet, make_scenes

        eighth = max(1, args.images // 8)
        counts = (args.images, eighth if args.val is None else args.val, eighth if args.test is None else args.test)
        processes = args.processes or len(os.sched_getaffinity(0))
        if processes < 1:
            raise UsageError(f"expected 1 process or more, found {processes}. Give another --processes")
        scenes = SceneSet(args.seed, counts, tuple(args.size or (320, 448)))
        made = make_scenes(args.folder, scenes, processes, args.replace)
    print(f"{args.folder}: {'made' if made else 'there already, nothing to do'}")
    return 0
