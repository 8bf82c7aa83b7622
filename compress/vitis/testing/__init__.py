"""Stand-ins for what AMD's container has: `pytorch_nndct`, `vai_c_xir`, and the container engine itself.

They behave as documented, wrong behaviour included, and compute with this project's own quantiser and lowering. They
run on the host's Python. `STAND_IN_FAULT` in the environment makes one of them fail in the way that it names.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import dpu

FAULT = "STAND_IN_FAULT"
STATE = "STAND_IN_STATE"  # a folder where the stand-in engine keeps what runs
_ROOT = Path(__file__).resolve().parents[3]


def fault() -> str:
    """The fault asked for, or an empty text."""
    return os.environ.get(FAULT, "")


def module_folders() -> tuple[Path, Path]:
    """The folders that hold the stand-ins for `pytorch_nndct` and `xir`, for sys.path."""
    return Path(__file__).with_name("modules"), dpu.stand_in_path()


def container_environment(programs: Path) -> dict[str, str]:
    """The environment of a process that takes itself for one in the container.

    Args:
        programs: a folder to make, where `vai_c_xir` goes.
    """
    install(programs, "vai_c_xir")
    modules = (*module_folders(), _ROOT)
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(map(str, modules)), "OMP_NUM_THREADS": "1"}


def install(folder: Path, *names: str) -> None:
    """Write executables of those names; `docker` and `podman` are the same stand-in."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        module = "vai_c_xir" if name == "vai_c_xir" else "engine"
        program = folder / name
        program.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(_ROOT)!r})\n"
            f"from compress.vitis.testing.{module} import main\nsys.exit(main(sys.argv[1:]))\n",
            encoding="utf-8",
        )
        program.chmod(0o755)
