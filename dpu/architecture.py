"""The DPUs that exist: eight sizes of DPUCZDX8G, the boards that carry them, and how a fingerprint names one.

Source: the target descriptions and DPU documentation in Xilinx/Vitis-AI (Apache-2.0), branches 2.0, 2.5 and 3.0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dpu.errors import UnknownBoardError


@dataclass(frozen=True)
class Architecture:
    """One size of DPUCZDX8G: `pixels` rows x `input_channels` x `output_channels` multiply-accumulates a cycle."""

    name: str
    pixels: int
    input_channels: int
    output_channels: int

    @property
    def ops_per_cycle(self) -> int:
        """Peak operations a cycle (a multiply-accumulate is 2)."""
        return 2 * self.pixels * self.input_channels * self.output_channels

    @property
    def feature_bytes(self) -> int:
        """Bytes of one on-chip feature bank group."""
        return self.pixels * self.input_channels * 2048

    @property
    def weight_bytes(self) -> int:
        """Bytes of the on-chip weight banks."""
        return self.output_channels * self.input_channels * 2048


ARCHITECTURES = {
    arch.name: arch
    for arch in (
        Architecture("B512", 4, 8, 8),
        Architecture("B800", 4, 10, 10),
        Architecture("B1024", 8, 8, 8),
        Architecture("B1152", 4, 12, 12),
        Architecture("B1600", 8, 10, 10),
        Architecture("B2304", 8, 12, 12),
        Architecture("B3136", 8, 14, 14),
        Architecture("B4096", 8, 16, 16),
    )
}
B4096 = ARCHITECTURES["B4096"]


@dataclass(frozen=True)
class Board:
    """A board as AMD's images set it up. `fingerprints` maps a Vitis AI version to that of its DPU."""

    name: str
    architecture: Architecture
    mhz: float
    cores: int
    fingerprints: dict[str, int]

    def with_image(self, version: str) -> Board:
        """The board with one image on its card. Raises UnknownBoardError for a version that it has none of."""
        if version not in self.fingerprints:
            known = ", ".join(self.fingerprints)
            raise UnknownBoardError(
                f"--board-image: expected one of {known}, found {version}. Name that of the board's card."
            )
        return replace(self, fingerprints={version: self.fingerprints[version]})


ISA0_B4096_BG2 = 0x1000020F6014407
ISA1_B4096_VAI25 = 0x101000016010407
ISA1_B4096_VAI30 = 0x101000056010407

_STOCK = {"2.0": ISA0_B4096_BG2, "2.5": ISA1_B4096_VAI25, "3.0": ISA1_B4096_VAI30, "3.5": ISA1_B4096_VAI30}

BOARDS = {
    board.name: board
    for board in (
        Board("zcu104", B4096, 300.0, 2, _STOCK),
        Board("kv260", B4096, 300.0, 1, _STOCK),
        Board("zcu102", B4096, 281.0, 3, _STOCK),
    )
}


def board(name: str) -> Board:
    """A board by name. Raises UnknownBoardError for one that is not known."""
    if name not in BOARDS:
        raise UnknownBoardError(f"expected a board out of {', '.join(BOARDS)}, found {name!r}. Name one of them.")
    return BOARDS[name]


FAMILY = "DPUCZDX8G"  # that of the boards above: what this package runs, predicts and has compiled
FAMILIES = {
    1: FAMILY,
    2: "DPUCAHX8H",
    3: "DPUCAHX8L",
    4: "DPUCZDI4G",
    5: "DPUCVDX8H",
    6: "DPUCVDX8G",
    7: "DPUCADF8H",
    8: "IPU_PHX",
    9: "DPUCV2DX8G",
}

_SIZES_BY_INDEX = {  # (pixels, input channels, output channels) of the lowest four bits
    index: (pixels, channels, channels)
    for index, (pixels, channels) in enumerate(
        ((4, 8), (4, 10), (8, 8), (4, 12), (8, 10), (8, 12), (8, 14), (8, 16), (4, 4), (2, 6), (2, 8), (2, 4))
    )
}


@dataclass(frozen=True)
class Fingerprint:
    """A decoded DPU fingerprint; the feature fields are None for families other than DPUCZDX8G and for its ISA 0.

    `expired`: Vitis AI 2.5 and later do not compile for it any more (ISA 0 of DPUCZDX8G).
    """

    value: int
    family: str
    isa: int
    size: str | None = None
    feature_groups: int | None = None
    channel_augmentation: bool | None = None
    conv_leaky: bool | None = None
    depthwise_leaky: bool | None = None
    save_argmax: bool | None = None

    expired: bool = False

    @property
    def compilable(self) -> bool:
        """Whether Vitis AI 3.5, which `roadslim compile` runs, compiles for it."""
        return self.family == FAMILY and self.isa == 1 and self.size is not None

    @property
    def hexadecimal(self) -> str:
        """As AMD's tools print it: 0x101000056010407."""
        return f"0x{self.value:x}"


def decode_fingerprint(value: int) -> Fingerprint:
    """What a 64-bit fingerprint says: type in bits 63-56, ISA in 55-48, features below (those of ISA 1)."""
    kind, isa = value >> 56 & 0xFF, value >> 48 & 0xFF
    family = FAMILIES.get(kind, f"unknown family {kind}")
    if kind != 1:
        return Fingerprint(value, family, isa)
    shape = _SIZES_BY_INDEX.get(value & 0xF)
    size = f"B{2 * shape[0] * shape[1] * shape[2]}" if shape else None
    if isa == 0:  # the feature bits of ISA 0 are laid out differently and not public; the size nibble agrees
        return Fingerprint(value, family, isa, size, expired=True)
    return Fingerprint(
        value,
        family,
        isa,
        size,
        feature_groups=value >> 24 & 0x3,
        channel_augmentation=bool(value >> 26 & 1),
        conv_leaky=bool(value >> 28 & 1),
        depthwise_leaky=bool(value >> 29 & 1),
        save_argmax=bool(value >> 30 & 1),
    )
