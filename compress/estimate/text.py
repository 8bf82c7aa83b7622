"""An estimate as a table for people, and as a document for programs."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import torch

from compress.estimate.run_estimate import RunEstimate
from compress.estimate.stage_estimate import StageEstimate

_HOUR, _DAY = 3600.0, 86400.0


def estimate_document(estimate: RunEstimate) -> dict[str, Any]:
    """For JSON: the device, the pictures, every stage with seconds, bytes and origin, and the sum of seconds."""
    return {
        "device": device(),
        "available_bytes": estimate.available_bytes,
        "images": asdict(estimate.splits) | {"note": estimate.pictures},
        "stages": [stage.document() for stage in estimate.stages],
        "seconds": estimate.seconds,
    }


def estimate_text(estimate: RunEstimate) -> str:
    """A line a stage, the sum, and what it was estimated from."""
    rows: list[tuple[str, ...]] = [("stage", "parameters", "GMACs", "epochs", "time", "memory", "GPU", "disk")]
    rows += [_row(stage) for stage in estimate.stages]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines += ["", f"all together: {duration(estimate.seconds)}, on {device()}; {estimate.pictures}"]
    lines += [f"{stage.stage}: {stage.origin}" for stage in estimate.stages]
    short = [stage.stage for stage in estimate.stages if stage.process_bytes > estimate.available_bytes]
    if short:
        lines.append(
            f"expected at most {_gigabytes(estimate.available_bytes)} of memory, as much as is available here, found "
            f"more in {', '.join(short)}. Lower batch_size or input_hw, or take another machine"
        )
    return "\n".join(lines)


def device() -> str:
    """What a training would run on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' if threads > 1 else ''} on {os.cpu_count()} CPU cores"


def duration(seconds: float) -> str:
    """In the unit that suits."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.1f} days"


def _row(stage: StageEstimate) -> tuple[str, ...]:
    return (
        stage.stage,
        f"{stage.params:,}",
        f"{stage.gmacs:.3f}",
        str(stage.epochs or "–"),
        duration(stage.seconds),
        _gigabytes(stage.process_bytes) if stage.process_bytes else "–",
        _gigabytes(stage.gpu_bytes) if stage.gpu_bytes else "–",
        _gigabytes(stage.disk_bytes),
    )


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count < 1e10 else f"{count / 1e9:.0f} GB"
