"""What can go wrong, as one tree. Every message says what was expected, what was found and what to do.

RoadslimError            exit 1
├── UsageError           exit 2   a flag or a config key is wrong
├── InputError                    a file that we were given is wrong
│   └── BundleError               a bundle is incomplete, changed or of another version
├── SourceError                   a camera, video or image folder gives no frames
└── RunnerError                   the DPU refuses the model or a run failed
"""

from __future__ import annotations


class RoadslimError(Exception):
    """Base of all errors that a user can mend; `exit_code` is what the process returns."""

    exit_code = 1


class UsageError(RoadslimError):
    """A flag or a config key is wrong."""

    exit_code = 2


class InputError(RoadslimError):
    """A file that we were given is wrong."""


class BundleError(InputError):
    """A bundle is incomplete, changed or of another version."""


class SourceError(RoadslimError):
    """A camera, video or image folder gives no frames."""


class RunnerError(RoadslimError):
    """The DPU refuses the model or a run failed."""
