"""What can go wrong on the way to a board, as one tree. Every message: what was expected, what was found, what to do.

DeployError              exit 1   (a RoadslimError)
├── ConnectionFailed              no way to the board, or lost on the way
│   ├── HostKeyError              the board's key is unknown, or not the one we know
│   └── LoginError                the board does not take our keys
├── PreflightError                the board is not ready; every reason at once
├── LockedError                   somebody else is deploying to this board
├── BoardCommandError             a command on the board failed
├── UploadError                   a file did not arrive, or not as it was sent
├── ContainerError                no container engine, no image, or no room for the job
├── CompileError                  a step in the container failed, or the compiled model is not what was asked for
├── NotHealthyError               the application did not come up
└── RolledBackError      exit 3   it did not come up, and the release before it serves again
"""

from __future__ import annotations

from board_app.core.errors import RoadslimError


class DeployError(RoadslimError):
    """Base of the errors of this package."""


class ConnectionFailed(DeployError):
    """No way to the board, or lost on the way."""


class HostKeyError(ConnectionFailed):
    """The board's key is unknown, or not the one we know."""


class LoginError(ConnectionFailed):
    """The board does not take our keys."""


class PreflightError(DeployError):
    """The board is not ready; the message names every reason."""


class LockedError(DeployError):
    """Somebody else is deploying to this board."""


class BoardCommandError(DeployError):
    """A command on the board failed."""


class UploadError(DeployError):
    """A file did not arrive, or not as it was sent."""


class ContainerError(DeployError):
    """No container engine, no image, or no room for the job."""


class CompileError(DeployError):
    """A step in the container failed, or the compiled model is not what was asked for."""


class NotHealthyError(DeployError):
    """The application did not come up."""


class RolledBackError(DeployError):
    """The new release did not come up, and the one before it serves again."""

    exit_code = 3
