"""From a quantised bundle to a compiled one, by AMD's compiler in its container."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from board_app.core.bundle import Bundle, load_bundle, write_bundle
from board_app.core.detector_json import DetectorSpec, spec_fields_of
from board_app.core.errors import RoadslimError
from deploy.compile_job import (
    CompileOptions,
    calibration_images,
    check_request,
    float_network,
    job_folder,
    noise_images,
)
from deploy.compiled_model import Comparison, compare, compiled_graph, compiled_spec, head_values
from deploy.container import check_room
from deploy.steps import Step, Steps
from dpu import xmodel
from dpu.errors import DpuError
from dpu.graph import Graph
from dpu.summary import vitis_ai_version
from roadslim import roadslim_version

_SPARE_BYTES = 200 * 2**20  # for the compiler's own files and the log


@dataclass
class CompileReport:
    """How a compilation went; the fields of `compile --json`.

    Attributes:
        compiled_and_quantised: the compiled model and the quantised one that it was made from, in the software DPU;
            None where the software DPU does not run the compiled one.
        vitis_and_roadslim: AMD's quantisation and the bundle's own, on the calibration images.
        error: what went wrong.
    """

    fingerprint: str
    image: str
    quantizer: str
    bundle: str
    log: str
    model_sha256: str = ""
    compiled_and_quantised: Comparison | None = None
    vitis_and_roadslim: Comparison | None = None
    steps: list[Step] = field(default_factory=list)
    error: RoadslimError | DpuError | None = None

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        fields = {**asdict(replace(self, error=None)), "error": None if self.error is None else str(self.error)}
        result = "compiled" if self.error is None else "failed"
        return {"schema_version": 1, "roadslim_version": roadslim_version(), "result": result, **fields}


def compile_bundle(path: Path, options: CompileOptions, steps: Steps) -> CompileReport:
    """Compile a bundle's model for one DPU and write the compiled bundle, whole or not at all.

    Returns:
        How it went. Where `error` is set, nothing was written but the container's log beside `options.out`.
    """
    report = _report(options, steps)
    try:
        _compile(report, path, options, steps)
    except (RoadslimError, DpuError) as error:
        report.error = error
    return report


def checked(path: Path, options: CompileOptions) -> tuple[Bundle, np.ndarray | None]:
    """The bundle, and the calibration images where AMD's quantiser is to run: uint8 (N, H, W, 3), RGB.

    Raises:
        UsageError: what is asked for contradicts itself.
        InputError: a file is missing or wrong, or the network has what the DPU has not.
    """
    bundle = load_bundle(path)
    check_request(bundle, options)
    if options.quantizer != "vitis":
        return bundle, None
    float_network(bundle, options)
    return bundle, calibration_images(options.calibration, bundle.spec.input_hw)


def pack_compiled(path: Path, compiled: Path, options: CompileOptions, steps: Steps) -> CompileReport:
    """Make the compiled bundle of a model that was compiled elsewhere, after the same checks; runs no container."""
    report = _report(options, steps)
    report.image = ""
    try:
        with steps.step("check") as step:
            bundle, _ = checked(path, options)
            step.message = f"{bundle.path.name} for DPU {report.fingerprint}, compiled elsewhere"
        _verify_and_write(report, bundle, options, steps, compiled)
    except (RoadslimError, DpuError) as error:
        report.error = error
    return report


def _report(options: CompileOptions, steps: Steps) -> CompileReport:
    dpu = f"0x{options.fingerprint:x}"
    return CompileReport(dpu, options.image, options.quantizer, str(options.out), str(options.log), steps=steps.done)


def _compile(report: CompileReport, path: Path, options: CompileOptions, steps: Steps) -> None:
    with steps.step("check") as step:
        bundle, images = checked(path, options)
        options.engine.check(options.image)
        size = bundle.model_path.stat().st_size + (0 if images is None else images.nbytes)
        check_room(options.out.absolute().parent, 6 * size + _SPARE_BYTES)
        step.message = f"{bundle.path.name} for DPU {report.fingerprint}, {options.image} in {options.engine.name}"
    options.log.unlink(missing_ok=True)
    with job_folder(bundle, options, images) as job:
        for (name, _), command in zip(options.steps(), options.commands(), strict=True):
            _run_step(name, command, options, steps)
        _verify_and_write(report, bundle, options, steps, job / "output" / "compiled.xmodel", images)


def _verify_and_write(
    report: CompileReport,
    bundle: Bundle,
    options: CompileOptions,
    steps: Steps,
    model: Path,
    images_rgb: np.ndarray | None = None,
) -> None:
    """Check the compiled model, compare it, and write its bundle."""
    with steps.step("verify") as step:
        compiled = compiled_graph(model, options.fingerprint)
        spec = compiled_spec(compiled, bundle.spec)
        _compare(report, bundle, compiled, spec, model.with_name("heads.npz"), images_rgb)
        step.message = _compared(report)
    with steps.step("bundle") as step:
        fields = spec_fields_of(_described(bundle, spec, compiled, report))
        report.model_sha256 = write_bundle(options.out, fields, model.read_bytes(), bundle.labels).model_sha256
        step.message = str(options.out)


def _run_step(name: str, command: list[str], options: CompileOptions, steps: Steps) -> None:
    last_line = TextColumn("{task.fields[line]}", markup=False)  # which has brackets of its own
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), last_line)
    with steps.step(name, spinner=False) as step:
        terminal = steps.terminal
        with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
            task = progress.add_task(name, total=None, line="")
            options.engine.run(
                command, options.container, options.log, lambda line: progress.update(task, line=line[:80])
            )
        step.message = f"log in {options.log}"


def _compare(
    report: CompileReport,
    bundle: Bundle,
    compiled: Graph,
    spec: DetectorSpec,
    vitis_heads: Path,
    images_rgb: np.ndarray | None,
) -> None:
    """Fill the report's comparisons; `vitis_heads` are those of AMD's quantiser on the images."""
    shown = noise_images(spec.input_hw) if images_rgb is None else images_rgb
    ours = head_values(xmodel.load(bundle.model_path), bundle.spec, shown)
    quantised = ours
    if images_rgb is not None:
        with np.load(vitis_heads) as heads:
            quantised = [heads[f"head{index}"] for index in range(len(heads.files))]
        report.vitis_and_roadslim = compare(ours, quantised)
    try:
        report.compiled_and_quantised = compare(head_values(compiled, spec, shown), quantised)
    except DpuError:
        report.compiled_and_quantised = None


def _compared(report: CompileReport) -> str:
    same = report.compiled_and_quantised
    text = f"compiled and quantised: {same or 'not compared, the software DPU does not run the compiled model'}"
    if report.vitis_and_roadslim:
        text = f"AMD's quantiser and ours: {report.vitis_and_roadslim}; {text}"
    return text


def _described(bundle: Bundle, spec: DetectorSpec, compiled: Graph, report: CompileReport) -> DetectorSpec:
    """The new bundle's spec: int8 accuracy goes along only where the compiled model gives the very same numbers."""
    same = report.compiled_and_quantised
    kept = report.quantizer == "roadslim" and same is not None and same.equal_share == 1
    accuracy = {key: value for key, value in spec.accuracy.items() if kept or not key.startswith("map50_int8")}
    origin = {
        **spec.origin,
        "quantised_model_sha256": bundle.model_sha256,
        "quantizer": report.quantizer,
        "dpu_fingerprint": report.fingerprint,
        "vitis_ai": vitis_ai_version(compiled),
        "image": report.image,
    }
    return replace(spec, roadslim_version=roadslim_version(), origin=origin, accuracy=accuracy)
