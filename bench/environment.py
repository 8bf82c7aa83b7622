"""Where a measurement was made: what decides speed, and nothing that names the machine or its user."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_LIBRARIES = ("torch", "onnxruntime", "numpy", "opencv-python-headless", "protobuf", "faster-coco-eval")
_CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")


class Environment(BaseModel):
    """The machine and its software; None where it does not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu_model: str
    cpu_cores: int  # that this process may use
    cpu_governor: str | None
    cpu_mhz: float | None
    memory_gb: float | None
    gpu: str | None
    system: str
    python: str
    libraries: dict[str, str]
    git_commit: str | None
    load_average: float | None  # over the last minute, before the measurement


def read_environment() -> Environment:
    """This machine as it is now."""
    cpuinfo = _text(Path("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s+(\d+) kB", _text(Path("/proc/meminfo")))
    megahertz = re.search(r"cpu MHz\s*: ([\d.]+)", cpuinfo)
    return Environment(
        cpu_model=cpu_model(cpuinfo),
        cpu_cores=usable_cores(),
        cpu_governor=_text(_CPUFREQ / "scaling_governor").strip() or None,
        cpu_mhz=float(megahertz.group(1)) if megahertz else None,
        memory_gb=round(int(memory.group(1)) / 2**20, 1) if memory else None,
        gpu=_gpu(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        libraries={name: found for name in _LIBRARIES if (found := library_version(name))},
        git_commit=_git_commit(),
        load_average=round(os.getloadavg()[0], 2),
    )


def cpu_model(cpuinfo: str | None = None) -> str:
    """The processor's name, or the architecture where it has none."""
    text = _text(Path("/proc/cpuinfo")) if cpuinfo is None else cpuinfo
    found = re.search(r"model name\s*: (.+)", text)
    return found.group(1).strip() if found else platform.machine()


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def library_version(name: str) -> str | None:
    """A distribution's installed version, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _git_commit() -> str | None:
    """The commit of the checkout that this file is in, with + where files differ from it."""
    folder = Path(__file__).parent
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]  # noqa: S607  git as the user's PATH has it
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)  # noqa: S603
    return done.stdout.strip()
