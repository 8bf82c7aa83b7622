"""AMD's quantiser (pytorch_nndct) on a Darknet network: calibrate, then test and export, each in a process of its own.

What it does that one would not expect, and what is done about it here:
- options are read from `sys.argv` when it is imported: sys.argv is set to exactly the options wanted;
- it needs `xir` imported before it, or it cannot export: `xir` is imported first;
- it quantises the caller's input in place: every batch is a copy;
- `export_quant_config` without a forward prints an error and returns: the file is looked for;
- test mode without calibration ends the process: the files are looked for before;
- a first test forward of a batch other than 1 prints an error, but the graph is written: every test forward is of one;
- `export_xmodel` has a default folder of its own: it is told ours;
- files are called after the module's class: they are renamed;
- it does not switch to evaluation mode: `eval()` is called.
"""

from __future__ import annotations

import logging
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List

import numpy as np
import torch

from board_app.core.errors import InputError
from compress.darknet.model_files import load_model
from compress.darknet.network import DarknetNetwork
from compress.vitis.job import Job, VitisError

log = logging.getLogger(__name__)
LEAKY_SLOPE = 26 / 256  # the DPU's; the quantiser puts it in place of any other
CALIBRATED = "quant_info.json"
BIASES = "bias_corr.pth"


def calibrate(job: Job, batch_size: int, bias_correction: bool) -> None:
    """Choose the fix points on the job's images; leaves quant_info.json in the calibration folder.

    Raises:
        VitisError: the quantiser did not write it.
        InputError: no network or no images, or they do not fit each other.
    """
    network = _network(job)
    images = _images(job, network)
    shutil.rmtree(job.calibration, ignore_errors=True)
    job.calibration.mkdir(parents=True)
    with _ended_by_quantizer("calibration"):
        quantizer = _quantizer("calib", network, job.calibration, bias_correction)
        model = quantizer.quant_model.eval()
        with torch.no_grad():
            for start in range(0, len(images), batch_size):
                model(_to_input(images[start : start + batch_size]))
                log.info("calibrated on %d of %d images", min(start + batch_size, len(images)), len(images))
        quantizer.export_quant_config()
    for name in _calibration_files(bias_correction):
        if not (job.calibration / name).is_file():
            raise VitisError(
                f"expected {name} from pytorch_nndct's calibration, found none in {job.calibration}. "
                "Its own message is above, marked VAIQ_ERROR."
            )


def export(job: Job, bias_correction: bool) -> None:
    """Run the calibrated network on every image and export it: output/heads.npz and output/quantised.xmodel.

    Raises:
        VitisError: not calibrated, or the quantiser wrote no graph or several.
        InputError: no network or no images, or they do not fit each other.
    """
    network = _network(job)
    images = _images(job, network)
    for name in _calibration_files(bias_correction):
        if not (job.calibration / name).is_file():
            raise VitisError(
                f"expected {name} of a calibration in {job.calibration}, found none. Run `calibrate` first, with the "
                "same --bias-correction."
            )
    for path in job.calibration.glob("*_int.xmodel"):
        path.unlink()
    with _ended_by_quantizer("export"):
        quantizer = _quantizer("test", network, job.calibration, bias_correction)
        model = quantizer.quant_model.eval()
        with torch.no_grad():
            heads = [model(_to_input(image[None])) for image in images]
        quantizer.export_xmodel(output_dir=str(job.calibration), deploy_check=False)
    joined = [torch.cat(parts).permute(0, 2, 3, 1).contiguous().numpy() for parts in zip(*heads)]
    named: Dict[str, Any] = {f"head{index}": head for index, head in enumerate(joined)}
    np.savez(job.output("heads.npz"), **named)
    shutil.copyfile(_exported(job.calibration, type(network).__name__), job.output("quantised.xmodel"))


def _calibration_files(bias_correction: bool) -> List[str]:
    return [CALIBRATED, BIASES] if bias_correction else [CALIBRATED]


def _exported(folder: Path, class_name: str) -> Path:
    found = sorted(path.name for path in folder.glob("*_int.xmodel"))
    if found != [f"{class_name}_int.xmodel"]:
        raise VitisError(
            f"expected one graph {class_name}_int.xmodel from pytorch_nndct in {folder}, found "
            f"{', '.join(found) or 'none'}. Its own message is above; a network cut in parts has operators that it "
            "cannot quantise."
        )
    return folder / found[0]


def _quantizer(mode: str, network: DarknetNetwork, folder: Path, bias_correction: bool) -> Any:
    """A torch_quantizer; only one can be at work in a process."""
    given, sys.argv = sys.argv, [sys.argv[0], "--nndct_param_corr", str(bias_correction)]
    try:
        import xir  # noqa: F401, I001  (first, see above)
        from pytorch_nndct.apis import torch_quantizer
    except ImportError as error:
        raise VitisError(
            f"expected pytorch_nndct and xir, found: {error}. Run this in Vitis AI's container, in its conda "
            "environment vitis-ai-pytorch: `roadslim compile` does."
        ) from error
    finally:
        sys.argv = given
    sample = torch.zeros(1, network.cfg.input_channels, *network.cfg.input_hw)
    return torch_quantizer(mode, network, (sample,), output_dir=str(folder), device=torch.device("cpu"))


def _network(job: Job) -> DarknetNetwork:
    network = load_model(job.input("model.cfg"), job.input("model.weights"))
    slope = network.cfg.leaky_slope
    if slope != LEAKY_SLOPE and any(layer.options.get("activation") == "leaky" for layer in network.cfg.layers):
        log.warning("the LeakyReLU slope %g becomes 26/256, the only one the DPU has", slope)
    return network


def _images(job: Job, network: DarknetNetwork) -> np.ndarray:
    """The job's images, uint8 (N, 3, H, W), mapped from the disk."""
    path = job.input("images.npy")
    try:
        images: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path}: expected a numpy array, found {error}. Let `roadslim compile` write it.") from error
    wanted = (network.cfg.input_channels, *network.cfg.input_hw)
    if images.dtype != np.uint8 or images.shape[1:] != wanted or not len(images):
        raise InputError(
            f"{path}: expected uint8 images (N, {', '.join(map(str, wanted))}), found {images.dtype} {images.shape}. "
            "Let `roadslim compile` write it."
        )
    return images


def _to_input(images: np.ndarray) -> torch.Tensor:
    """float32 RGB / 255, in memory of its own, which the quantiser may overwrite."""
    return torch.from_numpy(np.array(images)).float() / 255


@contextmanager
def _ended_by_quantizer(what: str) -> Iterator[None]:
    """Turn pytorch_nndct's way of ending the process into an error that says so."""
    try:
        yield
    except SystemExit as end:
        raise VitisError(
            f"expected pytorch_nndct to finish the {what}, found that it ended with exit code {end.code}. "
            "Its own message is above, marked VAIQ_ERROR."
        ) from end
