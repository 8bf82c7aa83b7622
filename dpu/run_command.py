"""`roadslim xmodel run`: a model on the software DPU, from .npy files to an .npz."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from dpu.arithmetic import quantise
from dpu.errors import RunError
from dpu.executor import Executor
from dpu.json_output import print_json
from dpu.xmodel import load


def run(args: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    executor = Executor(load(args.file), engine=args.engine, threads=args.threads)
    inputs = {}
    for text in args.input:
        tensor, separator, path = text.partition("=")
        if not separator:
            tensor, path = executor.inputs[0].name, text
        value = next((value for value in executor.inputs if value.name == tensor), None)
        if value is None:
            raise RunError(
                f"expected an input out of {[v.name for v in executor.inputs]}, found {tensor!r}. Correct it."
            )
        try:
            with open(path, "rb") as file:
                array = np.load(file, allow_pickle=False)
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(
                f"{path}: expected one array of numbers as numpy.save writes it, found other or damaged content. "
                "Save the input again."
            ) from error
        if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.int8) or array.shape != value.shape:
            found = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "several arrays"
            raise RunError(f"{path}: expected float32 or int8 {list(value.shape)} (NHWC), found {found}. Convert it.")
        if array.dtype == np.float32:
            if not np.isfinite(array).all():
                raise RunError(f"{path}: expected finite numbers, found NaN or infinity. Correct the input.")
            array = quantise(array, value.fix_point)
        inputs[tensor] = array
    began = time.perf_counter()
    results = executor.run(inputs, args.tensors)
    milliseconds = (time.perf_counter() - began) * 1e3
    _write_npz(args.output, results)
    known = executor.tensors()
    rows = [
        {"name": name, "shape": list(known[name].shape), "dtype": "int8", "fix_point": known[name].fix_point}
        for name in results
    ]
    if args.json:
        print_json({"engine": executor.engine, "output": str(args.output), "tensors": rows})
        return 0
    for row in rows:
        print(f"{row['name']}: int8 {row['shape']}, fix point {row['fix_point']}")
    print(f"{len(rows)} tensors in {args.output} ({executor.engine}, first run {milliseconds:.0f} ms)", file=sys.stderr)
    return 0


def _write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Write an .npz whole or not at all. Any tensor name can be a key (numpy.savez reserves some)."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
