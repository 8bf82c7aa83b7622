"""`roadslim export`: the network in another format."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from board_app.core.errors import InputError, UsageError

FORMATS = ("onnx", "weights", "safetensors", "xmodel")


def add_parser(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `roadslim export`."""
    parser.description = (
        "The network in another format. MODEL is a stage folder of a run (or a bundle, for xmodel); or give --cfg and "
        "--weights. onnx: batch 1, batch normalisation folded, raw heads as outputs head_0, head_1, ... in cfg order. "
        "weights: Darknet's own; safetensors: the same numbers and header by torch's names; both with the cfg beside "
        "them. xmodel: of a quantised stage or a bundle."
    )
    parser.epilog = (
        "examples:\n  roadslim export runs/road/distill --to onnx road.onnx\n"
        "  roadslim export --cfg model.cfg --weights model.weights --to onnx road.onnx\n"
        "  roadslim export --cfg model.cfg --weights model.weights --to safetensors road.safetensors\n"
        "  roadslim export runs/road/quantize --to xmodel road_int.xmodel"
    )
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL", help="stage folder of a run, or a bundle")
    parser.add_argument("--cfg", type=Path, help="Darknet cfg of the network")
    parser.add_argument("--weights", type=Path, help="its weights, .weights or .safetensors")
    parser.add_argument(
        "--to", nargs=2, required=True, metavar=("|".join(FORMATS), "FILE"), help="format, and the file to write"
    )
    parser.add_argument("--json", action="store_true", help="what was written as JSON on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    kind, target = args.to[0], Path(args.to[1])
    if kind not in FORMATS:
        raise UsageError(f"--to: expected {', '.join(FORMATS)}, found '{kind}'. Choose one.")
    if target.suffix != f".{kind}":  # so that no file of another kind is replaced either
        raise UsageError(f"--to {kind}: expected a name that ends in .{kind}, found {target}. Use NAME.{kind}.")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target}: expected an existing folder, found no {target.parent}. Make it first.")
    if (args.model is None) == (args.cfg is None and args.weights is None):
        raise UsageError("expected a MODEL, or --cfg and --weights, found both or none. Give one of them.")
    if args.model is None and (args.cfg is None or args.weights is None):
        raise UsageError("expected --cfg and --weights, found one of them. Give both.")
    written = _copy_xmodel(args.model, target) if kind == "xmodel" else _export(args, kind, target)
    _tell(written, kind, args.json)
    return 0


def _export(args: argparse.Namespace, kind: str, target: Path) -> list[Path]:
    from compress.darknet.cfg import write_cfg
    from compress.darknet.dpu_hindrances import warn_of_hindrances
    from compress.darknet.model_files import load_model, model_paths
    from compress.darknet.weights import save_weights

    if args.model is not None and args.model.exists() and _is_int8(args.model):
        raise UsageError(
            f"--to {kind}: expected a stage with float weights, found {args.model}, which has int8 ones alone. "
            "Name the distill stage of its run, such as runs/NAME/distill."
        )
    sources = (args.cfg, args.weights) if args.model is None else model_paths(args.model)
    written = [target] if kind == "onnx" else [target, target.with_suffix(".cfg")]
    for path in written:
        if any(path.exists() and path.samefile(source) for source in sources):
            raise UsageError(f"--to: expected another file than the model's own, found {path}. Choose another name.")
    network = load_model(*sources)
    warn_of_hindrances(network.cfg)
    if kind == "onnx":
        from compress.darknet.onnx_export import export_onnx

        export_onnx(network, target)
    else:
        save_weights(network, target)
        write_cfg(network.cfg, written[1])
    return written


def _is_int8(model: Path) -> bool:
    from compress.bundle_of_stage import find_bundle

    quantised = any(model.glob("*.xmodel")) and not (model / "model.cfg").is_file()
    return quantised or model.suffix == ".xmodel" or find_bundle(model) is not None


def _copy_xmodel(model: Path | None, target: Path) -> list[Path]:
    from board_app.core.atomic_file import replacing
    from board_app.core.bundle import load_bundle
    from compress.bundle_of_stage import find_bundle

    if model is None:
        raise UsageError("--to xmodel: expected a quantised stage folder or a bundle, found a cfg. Quantise it first.")
    bundle = find_bundle(model)
    if bundle is not None:
        model = load_bundle(bundle).path  # refuses what was changed
    found = sorted(model.glob("*.xmodel")) if model.is_dir() else []
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError(
            f"{model}: expected a folder with one .xmodel (a quantise stage or a bundle), found {names}. "
            "Make one: `roadslim quantize`."
        )
    if target.exists() and target.samefile(found[0]):
        raise UsageError(f"--to: expected another file than the model's own, found {target}. Choose another name.")
    with replacing(target) as partial:
        shutil.copyfile(found[0], partial)
    return [target]


def _tell(written: list[Path], kind: str, as_json: bool) -> None:
    from board_app.core.atomic_file import sha256_of
    from roadslim import roadslim_version

    files = [{"path": str(path), "bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in written]
    if as_json:
        head = {"schema_version": 1, "roadslim_version": roadslim_version(), "format": kind}
        print(json.dumps(head | {"files": files}, indent=1))
        return
    for entry in files:
        print(f"{entry['path']}: {entry['bytes']:,} bytes, sha256 {entry['sha256']}")
