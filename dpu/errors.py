"""What can go wrong with a model or the software DPU, as one tree.

DpuError                 exit 1   (a RuntimeError, as errors of the real modules are in Python)
├── XmodelError                   the file is not an .xmodel, damaged, or breaks the format's rules
├── UnsupportedModelError         a sound model that this DPU does not run (operator, family, fingerprint)
├── UnknownBoardError    exit 2   no board of that name
└── RunError                      wrong buffers; what would abort the real process
"""

from __future__ import annotations


class DpuError(RuntimeError):
    """Base of the errors of this package; `exit_code` is what the process returns."""

    exit_code = 1


class XmodelError(DpuError):
    """The file is not an .xmodel, is damaged, or breaks the format's rules."""


class UnsupportedModelError(DpuError):
    """A sound model that this DPU does not run."""


class UnknownBoardError(DpuError):
    """No board of that name."""

    exit_code = 2


class RunError(DpuError):
    """Wrong buffers; the real runtime would abort the process."""
