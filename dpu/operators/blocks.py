"""Blocks of pixels turned into channels and back: `tile-fix` and the reorg layer of YOLOv2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpu.operators.movement import Rearrange, same_grid
from dpu.program import Step, Value

if TYPE_CHECKING:
    from dpu.graph import Op
    from dpu.program_reader import Reader


def _blocks(reader: Reader, op: Op, key: str) -> tuple[Value, Value, int, bool, tuple[int, int, int]]:
    """Output, input, block size, whether blocks are put together again, and the side (H, W, C) with fewer pixels."""
    output, _ = same_grid(reader, op)
    source, size, reverse = reader.picture(op), op.typed(key, "int32", 0), op.typed("reverse", "bool")
    if not 1 <= size <= 256 or reverse is None:
        raise reader.unsupported(op, f"attributes {key} {size} and reverse {reverse} are not known")
    large = output if reverse else source
    if len(large.shape) != 4 or large.shape[1] % size or large.shape[2] % size:
        raise reader.unsupported(op, f"blocks of {size} do not divide {list(large.shape)}")
    _, height, width, channels = large.shape
    small = (height // size, width // size, channels * size * size)
    if (source if reverse else output).shape != (1, *small):
        raise reader.contradicting(op, large.shape if reverse else (1, *small))
    return output, source, size, reverse, small


def _tile(reader: Reader, op: Op) -> tuple[Step, ...]:
    """Blocks of pixels become channels, row by row, and back."""
    output, source, size, reverse, (height, width, channels) = _blocks(reader, op, "stride")
    row = channels // size
    split = (height, width, size, row) if reverse else (height, size, width, row)
    return (Rearrange(output, (source,), split, (0, 2, 1, 3)),)


def _reorg(reader: Reader, op: Op) -> tuple[Step, ...]:
    """The reorg layer of YOLOv2 as AMD's public executor has it: rows that lie `scale` apart become channels."""
    output, source, size, reverse, (height, width, channels) = _blocks(reader, op, "scale")
    if height % size:
        raise reader.unsupported(op, f"{height} rows of blocks are not a multiple of scale {size}")
    row, groups = channels // size, height // size
    split = (groups, size, width, size, row) if reverse else (groups, size, size, width, row)
    order = (0, 3, 1, 2, 4) if reverse else (0, 2, 3, 1, 4)
    return (Rearrange(output, (source,), split, order),)


READERS = {"tile-fix": _tile, "reorg-fix": _reorg}
