"""`roadslim xmodel run`: a model on the software DPU, from .npy files to an .npz."""

from __future__ import annotations

import argparse
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from dpu.errors import RunError
from dpu.graph_runner import GraphRunner, HeldTensor, checked_input
from dpu.json_output import print_json
from dpu.whole_file import whole_file
from dpu.xmodel import load


def run(args: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    runner = GraphRunner(load(args.file), args.engine, args.threads, args.ops)
    inputs = _inputs(args.input, runner.inputs)
    read = [args.file, *(Path(text.rpartition("=")[2]) for text in args.input)]
    if args.output.exists() and any(path.exists() and path.samefile(args.output) for path in read):
        raise RunError(
            f"--output {args.output}: expected another file than what is read, found the same. Name another."
        )
    began = time.perf_counter()
    results = runner.run(inputs, args.tensors)
    milliseconds = (time.perf_counter() - began) * 1e3
    _write_npz(args.output, results)
    known = runner.tensors()
    rows = [
        {
            "name": name,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "fix_point": known[name].fix_point,
        }
        for name, array in results.items()
    ]
    if args.json:
        print_json({"origin": "simulated", "engine": runner.engine, "output": str(args.output), "tensors": rows})
        return 0
    for row in rows:
        position = "" if row["fix_point"] is None else f", fix point {row['fix_point']}"
        print(f"{row['name']}: {row['dtype']} {row['shape']}{position}")
    count = f"{len(rows)} tensors" if len(rows) != 1 else "1 tensor"
    print(f"{count} in {args.output} ({runner.engine}, first run {milliseconds:.0f} ms)", file=sys.stderr)
    return 0


def _inputs(texts: list[str], expected: tuple[HeldTensor, ...]) -> dict[str, np.ndarray]:
    """The arrays of `[TENSOR=]IN.npy`, checked, by tensor name."""
    by_name = {tensor.name: tensor for tensor in expected}
    found: dict[str, np.ndarray] = {}
    for text in texts:
        name, separator, path = text.rpartition("=")
        if not separator or (name not in by_name and Path(text).is_file()):  # a path may hold a =
            name, path = expected[0].name if len(expected) == 1 else "", text
        if name not in by_name or name in found:
            problem = "a second file for it" if name in found else f"a file for {name!r}" if name else "no name"
            raise RunError(
                f"--input {text}: expected TENSOR=IN.npy, once for each of {sorted(by_name)}, found {problem}. "
                "Correct it."
            )
        try:
            found[name] = checked_input(by_name[name], _read_npy(path))
        except RunError as error:
            raise RunError(f"{path}: {error}") from error
    if missing := sorted(set(by_name) - set(found)):
        raise RunError(f"expected {len(by_name)} inputs, found none for {missing}. Add --input TENSOR=IN.npy for each.")
    return found


def _read_npy(path: str) -> np.ndarray:
    """One array, its content not read yet: a header may claim more than any memory holds."""
    with open(path, "rb") as file:
        begins = file.read(len(np.lib.format.MAGIC_PREFIX))
    try:
        if begins != np.lib.format.MAGIC_PREFIX:
            raise ValueError(f"it begins with {begins!r}")
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, OverflowError) as error:
        raise RunError(
            f"expected one array of numbers as numpy.save writes it, found other or damaged content ({error}). "
            "Save the input again."
        ) from error


def _write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Write an .npz whole or not at all. Any tensor name can be a key (numpy.savez reserves some)."""
    with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)
