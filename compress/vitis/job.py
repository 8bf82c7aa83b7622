"""The job folder that host and container share: the host fills `input/`, the container fills `output/`.

input/   model.cfg, model.weights   the float network                       (calibrate, export)
         images.npy                 uint8 (N, 3, H, W), RGB, letterboxed    (calibrate, export)
         quantised.xmodel           a quantised graph to compile as it is   (compile)
output/  quantize_result/           what calibration leaves for the export
         quantised.xmodel           AMD's own quantised graph
         heads.npz                  its raw heads on the images: head0, head1, ... float32 (N, H, W, C)
         compiled.xmodel            for the DPU
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from board_app.core.errors import InputError, RoadslimError


class VitisError(RoadslimError):
    """AMD's quantiser or compiler did not do what it was asked to."""


@dataclass(frozen=True)
class Job:
    """One job folder."""

    folder: Path

    def input(self, name: str) -> Path:
        """An input file.

        Raises:
            InputError: it is not there.
        """
        path = self.folder / "input" / name
        if not path.is_file():
            raise InputError(f"expected the file {path}, found none. Let `roadslim compile` prepare the folder.")
        return path

    def output(self, name: str) -> Path:
        """Where an output goes; its folder is made."""
        path = self.folder / "output" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def calibration(self) -> Path:
        """The folder in which calibration and export meet."""
        return self.folder / "output" / "quantize_result"
