"""What the board is like, found out on the board: this file is sent to its `python3 -` and prints one JSON line.

Nothing but the standard library, and nothing newer than Python 3.6: it must still run where the check fails.
Argument: JSON with `folder` (where releases go), `host` and `port` (of the live page).
"""

import json
import os
import shutil
import socket
import subprocess
import sys

MARK = "roadslim-check "
MODULES = ("numpy", "cv2", "xir", "vart")
TOOLS = ("setsid", "sha256sum", "tail", "tr", "df")


def import_error(name: str) -> "str | None":
    """Why a module cannot be imported, None where it can."""
    try:
        __import__(name)
    except Exception as error:  # a broken native module may raise anything, and all are to be reported
        return f"{type(error).__name__}: {error}"
    return None


def existing(folder: str) -> str:
    """The nearest folder above that exists."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def bind_error(host: str, port: int) -> "str | None":
    """Why the port cannot be listened on, None where it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return str(error)
    return None


def dpu_fingerprints() -> "list[str] | None":
    """What `xdputil query` says of the DPU cores; None where there is no such tool, or it fails."""
    if shutil.which("xdputil") is None:
        return None
    try:
        output = subprocess.run(["xdputil", "query"], stdout=subprocess.PIPE, timeout=20).stdout.decode()  # noqa: S607
        kernels = json.loads(output[output.index("{") : output.rindex("}") + 1])["kernels"]
        return sorted({f"0x{int(kernel['fingerprint'], 16):x}" for kernel in kernels if "fingerprint" in kernel})
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
        return None


def main() -> None:
    """Print the findings."""
    asked = json.loads(sys.argv[1])
    above = existing(asked["folder"])
    room = os.statvfs(above)
    print(
        MARK
        + json.dumps(
            {
                "python": list(sys.version_info[:3]),
                "machine": os.uname().machine,
                "imports": {name: import_error(name) for name in MODULES},
                "missing_tools": [tool for tool in TOOLS if shutil.which(tool) is None],
                "folder_above": above,
                "writable": os.access(above, os.W_OK),
                "disk_free_bytes": room.f_bavail * room.f_frsize,
                "port_error": bind_error(asked["host"], asked["port"]),
                "dpu_fingerprints": dpu_fingerprints(),
            }
        )
    )


if __name__ == "__main__":
    main()
