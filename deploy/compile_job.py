"""What a compilation needs on the host: which steps, from which files, in which job folder."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from board_app.core.atomic_file import sha256_of
from board_app.core.bundle import MODEL_FILE, SPEC_FILE, Bundle
from board_app.core.errors import InputError, UsageError
from board_app.core.letterbox import letterbox
from board_app.file_sources import IMAGE_SUFFIXES, read_image
from deploy.container import IMAGE, Engine
from dpu import xmodel
from dpu.architecture import decode_fingerprint
from dpu.compatibility import check
from dpu.errors import DpuError

Quantizer = Literal["roadslim", "vitis"]
_COMPARED_IMAGES = 2


@dataclass(frozen=True)
class CompileOptions:
    """What is asked for.

    Attributes:
        fingerprint: of the DPU.
        out: the bundle to write.
        quantizer: `roadslim` compiles the bundle's own quantised graph, `vitis` quantises the float network anew.
        cfg, weights: the float network; None: that of the bundle's run.
        calibration: a folder of images, for `vitis`.
        batch: images a calibration forward.
        bias_correction: of AMD's quantiser.
    """

    fingerprint: int
    out: Path
    engine: Engine
    image: str = IMAGE
    quantizer: Quantizer = "roadslim"
    cfg: Path | None = None
    weights: Path | None = None
    calibration: Path | None = None
    batch: int = 4
    bias_correction: bool = True

    @property
    def job(self) -> Path:
        """The job folder, beside the result, removed at the end."""
        return self.out.absolute().with_name(f"{self.out.name}.job")

    @property
    def log(self) -> Path:
        """What the container printed, beside the result."""
        return self.out.absolute().with_name(f"{self.out.name}.log")

    @property
    def container(self) -> str:
        """The container's name; jobs of the same name in other folders have another."""
        place = hashlib.sha256(str(self.job).encode()).hexdigest()[:8]
        return f"roadslim-{re.sub(r'[^A-Za-z0-9_.-]', '-', self.out.stem)}-{place}"

    def steps(self) -> list[tuple[str, list[str]]]:
        """The container's steps in order: name, and the words for `python -m compress.vitis`."""
        compiling = ["compile", f"--fingerprint=0x{self.fingerprint:x}", f"--quantizer={self.quantizer}"]
        if self.quantizer == "roadslim":
            return [("compile", compiling)]
        correction = f"--bias-correction={'on' if self.bias_correction else 'off'}"
        return [
            ("calibrate", ["calibrate", f"--batch={self.batch}", correction]),
            ("export", ["export", correction]),
            ("compile", compiling),
        ]

    def commands(self) -> list[list[str]]:
        """The engine's command for each step."""
        return [self.engine.run_command(self.image, self.job, self.container, words) for _, words in self.steps()]


def check_dpu(fingerprint: int) -> None:
    """Raise UsageError unless the image's Vitis AI compiles for the DPU with that fingerprint."""
    dpu = decode_fingerprint(fingerprint)
    if not dpu.compilable:
        raise UsageError(
            f"expected the fingerprint of a DPUCZDX8G of ISA 1, found {dpu.hexadecimal}, {dpu.family} of ISA "
            f"{dpu.isa}. Vitis AI 3.5 does not compile for it; docs/vitis.md tells which version does."
        )


def check_request(bundle: Bundle, options: CompileOptions) -> None:
    """Refuse what cannot end well, before anything is started.

    Raises:
        UsageError: no place for the result.
        InputError: the bundle's model is compiled already, or has what the DPU has not.
    """
    out = options.out
    if out.absolute() == bundle.path.absolute():
        raise UsageError(f"--out: expected another path than the bundle's own, found {out}. Name a new bundle.")
    if out.exists() and not (out / SPEC_FILE).is_file():
        raise UsageError(f"--out: expected a bundle or nothing at {out}, found something else. Name another path.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out: expected an existing folder, found no {out.absolute().parent}. Make it first.")
    if bundle.spec.kind == "compiled":
        raise InputError(
            f"{bundle.path}: expected a quantised bundle, found a compiled one. Give the one that it was made from, "
            "as `roadslim compress` writes it."
        )
    if options.quantizer == "roadslim":
        _check_operators(bundle, options.fingerprint)


def _check_operators(bundle: Bundle, fingerprint: int) -> None:
    try:
        reasons = check(xmodel.load(bundle.model_path), fingerprint=fingerprint).reasons
    except DpuError as error:
        raise InputError(f"{bundle.model_path}: {error}") from error
    others = [reason for reason in reasons if reason.code != "not_compiled"]
    if others:
        listing = "".join(f"\n  - {reason.message} {reason.remedy}" for reason in others)
        raise InputError(f"{bundle.model_path}: expected a network that the DPU runs whole, found:{listing}")


def float_network(bundle: Bundle, options: CompileOptions) -> tuple[Path, Path]:
    """The cfg and weights to quantise anew: those named, or the bundle's run's, known by their hashes.

    Raises:
        UsageError: one is named without the other.
        InputError: not there, or changed since the bundle was made.
    """
    if options.cfg is not None and options.weights is not None:
        if options.weights.suffix == ".safetensors":  # which the container's Python cannot read
            raise UsageError(
                f"--weights: expected Darknet's .weights, found {options.weights}. Convert it: roadslim export --cfg "
                f"{options.cfg} --weights {options.weights} --to weights NAME.weights"
            )
        return options.cfg, options.weights
    if options.cfg is not None or options.weights is not None:
        raise UsageError("expected --cfg and --weights, found one of them. Give both, or neither for the run's own.")
    folder = bundle.path.absolute().parent.parent / "distill"  # runs/NAME/bundle/NAME.bundle
    for name in ("model.cfg", "model.weights"):
        wanted = bundle.spec.origin.get(name)
        if not (folder / name).is_file() or sha256_of(folder / name) != wanted:
            raise InputError(
                f"expected the float network that {bundle.path.name} was made from in {folder}, found no {name} with "
                "the hash in its origin. Give it: --cfg FILE --weights FILE"
            )
    return folder / "model.cfg", folder / "model.weights"


def calibration_images(folder: Path | None, input_hw: tuple[int, int]) -> np.ndarray:
    """The folder's images in name order, letterboxed: uint8 (N, H, W, 3), RGB.

    Raises:
        UsageError: no folder is named.
        InputError: no such folder, no images in it, or one that cannot be read.
    """
    if folder is None:
        raise UsageError(
            "--quantizer vitis: expected images to choose the fix points on, found none. Give a folder with some "
            "training images: --calibration FOLDER"
        )
    if not folder.is_dir():
        raise InputError(f"--calibration: expected a folder, found none at {folder}. Name an existing one.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise InputError(f"--calibration: expected images in {folder}, found none. Put some training images there.")
    images = np.empty((len(paths), *input_hw, 3), np.uint8)
    for index, path in enumerate(paths):
        image_bgr = read_image(path)
        if image_bgr is None:
            raise InputError(f"{path}: expected an image, found something else. Remove or replace it.")
        images[index] = letterbox(image_bgr, input_hw)[0][:, :, ::-1]
    return images


def noise_images(input_hw: tuple[int, int]) -> np.ndarray:
    """Two fixed noise images, uint8 (2, H, W, 3): enough to see whether two models are the same network."""
    return np.random.default_rng(0).integers(0, 256, (_COMPARED_IMAGES, *input_hw, 3), dtype=np.uint8)


@contextmanager
def job_folder(bundle: Bundle, options: CompileOptions, images_rgb: np.ndarray | None) -> Iterator[Path]:
    """Fill the job's input, and remove the whole folder at the end, whatever happened.

    Args:
        images_rgb: the calibration images where AMD's quantiser is to run.
    Raises:
        UsageError: it is there already.
    """
    job = options.job
    try:
        job.mkdir()
    except FileExistsError:
        raise UsageError(
            f"expected no {job}, found one: another `roadslim compile` is at work there, or one was killed. "
            "Remove it if none is running, or use another --out."
        ) from None
    try:
        (job / "input").mkdir()
        (job / "output").mkdir()
        if images_rgb is None:
            shutil.copyfile(bundle.path / MODEL_FILE, job / "input" / "quantised.xmodel")
        else:
            cfg, weights = float_network(bundle, options)
            shutil.copyfile(cfg, job / "input" / "model.cfg")
            shutil.copyfile(weights, job / "input" / "model.weights")
            np.save(job / "input" / "images.npy", np.ascontiguousarray(images_rgb.transpose(0, 3, 1, 2)))
        yield job
    finally:
        shutil.rmtree(job, ignore_errors=True)
